// What load_bench measures, one function each. They share a server, and run in this order.
#ifndef IMAGESEARCH_TESTS_BENCH_LOAD_SCENARIOS_H_
#define IMAGESEARCH_TESTS_BENCH_LOAD_SCENARIOS_H_

#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "tests/bench/load/bare.h"
#include "tests/bench/load/drive.h"
#include "tests/bench/load/report.h"
#include "tests/bench/load/server_process.h"

namespace imagesearch::bench {

struct Durations {
  double rate = 20;      // seconds of each closed loop
  double beside = 60;    // of the interactive texts beside a bulk stream
  double overload = 60;  // of the overload
};

struct Bench {
  std::vector<std::string> photos;
  BareFigures bare;
  Durations durations;
  int encode_calls = 48;  // --max-encode-calls of the server
  std::unique_ptr<ServerProcess> server;
  std::vector<std::unique_ptr<client::Client>> clients;  // a connection each
  Report report;
  uint64_t next_number = 1'000'000;  // of the next phase's first input, so that none comes twice

  // One image or one text to encode. Threads share the connections evenly.
  Call EncodePhoto();
  Call EncodeText();
  Outcome Closed(int threads, double seconds, const Call& call);
  // Reports a phase's figures, and checks that no call failed in a way that load does not explain.
  void Describe(const Outcome& outcome, const std::string& unit);
  uint64_t TakeNumbers();
};

// Images from 32 clients; returns the outcome for the overload to compare with.
Outcome ServeImages(Bench& bench);
// One text at a time, and texts from 32 clients.
void ServeTexts(Bench& bench);
// Ten interactive text searches a second beside an upsert stream that is never short of images.
void TextsBesideBulk(Bench& bench);
// Ten times as many images as `peak` served.
void Overload(Bench& bench, const Outcome& peak);
// Calls that are cancelled or whose deadline passes while they wait never reach the towers.
void AbandonedCalls(Bench& bench);

}  // namespace imagesearch::bench

#endif  // IMAGESEARCH_TESTS_BENCH_LOAD_SCENARIOS_H_
