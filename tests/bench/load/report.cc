// Prints while it runs, so that a run that is cut off has shown what it measured.
#include "tests/bench/load/report.h"

#include <cstdio>
#include <fstream>

namespace imagesearch::bench {

void Report::Heading(const std::string& key, const std::string& title) {
  heading_ = key;
  std::printf("\n%s\n", title.c_str());
  std::fflush(stdout);
}

void Report::Figure(const std::string& key, const std::string& title, double value,
                    const std::string& unit) {
  figures_[heading_][key] = value;
  std::printf("  %-58s %12.3f %s\n", title.c_str(), value, unit.c_str());
  std::fflush(stdout);
}

void Report::Note(const std::string& key, const std::string& title, const std::string& text) {
  figures_[heading_][key] = text;
  std::printf("  %-58s %s\n", title.c_str(), text.c_str());
}

void Report::AtLeast(const std::string& what, double value, double bound) {
  targets_.push_back({what, value, bound, true});
}

void Report::AtMost(const std::string& what, double value, double bound) {
  targets_.push_back({what, value, bound, false});
}

void Report::Check(const std::string& what, bool holds) {
  ++checks_;
  if (holds) return;
  broken_.push_back(what);
  std::printf("  BROKEN: %s\n", what.c_str());
}

void Report::PrintTargets() const {
  std::printf("\n%-58s %10s %10s\n", "target", "measured", "wanted");
  for (const Target& target : targets_) {
    std::printf("%-58s %10.3f %s %8.3f  %s\n", target.what.c_str(), target.value,
                target.at_least ? ">=" : "<=", target.bound, target.met() ? "met" : "MISSED");
  }
  std::printf("%d checks of behaviour, %zu broken\n", checks_, broken_.size());
}

bool Report::Write(const std::string& path) const {
  nlohmann::ordered_json all = figures_;
  for (const Target& target : targets_) {
    all["targets"].push_back({{"what", target.what},
                              {"measured", target.value},
                              {target.at_least ? "at_least" : "at_most", target.bound},
                              {"met", target.met()}});
  }
  all["checks"] = checks_;
  all["broken"] = broken_;
  std::ofstream file(path);
  file << all.dump(2) << "\n";
  return static_cast<bool>(file);
}

}  // namespace imagesearch::bench
