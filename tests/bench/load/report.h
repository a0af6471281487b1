// The figures as a table for people and as JSON, each target with what it demands.
#ifndef IMAGESEARCH_TESTS_BENCH_LOAD_REPORT_H_
#define IMAGESEARCH_TESTS_BENCH_LOAD_REPORT_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace imagesearch::bench {

class Report {
 public:
  // Prints `name: value` under the heading that came last, and keeps it.
  void Heading(const std::string& key, const std::string& title);
  void Figure(const std::string& key, const std::string& title, double value,
              const std::string& unit = "");
  void Note(const std::string& key, const std::string& title, const std::string& text);

  // A figure that ought to be at least, or at most, `bound`.
  void AtLeast(const std::string& what, double value, double bound);
  void AtMost(const std::string& what, double value, double bound);

  // Behaviour that must hold whatever the machine does meanwhile.
  void Check(const std::string& what, bool holds);
  bool all_hold() const { return broken_.empty(); }

  void PrintTargets() const;
  // False when the file can't be written.
  bool Write(const std::string& path) const;

 private:
  struct Target {
    std::string what;
    double value = 0, bound = 0;
    bool at_least = false;
    bool met() const { return at_least ? value >= bound : value <= bound; }
  };

  nlohmann::ordered_json figures_;
  std::string heading_;
  std::vector<Target> targets_;
  std::vector<std::string> broken_;
  int checks_ = 0;
};

}  // namespace imagesearch::bench

#endif  // IMAGESEARCH_TESTS_BENCH_LOAD_REPORT_H_
