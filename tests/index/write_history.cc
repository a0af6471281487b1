#include "tests/index/write_history.h"

#include <algorithm>
#include <functional>
#include <random>

#include "gtest/gtest.h"
#include "index/store/unit_vector.h"

namespace imagesearch::index {

std::vector<float> ContentVector(const std::string& id, uint64_t sequence, int dimension) {
  std::mt19937_64 random(std::hash<std::string>()(id) * 31 + sequence);
  std::normal_distribution<float> normal;
  std::vector<float> vector(dimension);
  for (float& value : vector) value = normal(random);
  return vector;
}

UpsertItem ContentItem(const std::string& id, uint64_t sequence, int dimension) {
  UpsertItem item;
  item.id = id;
  item.vector = ContentVector(id, sequence, dimension);
  item.metadata.emplace();
  (*item.metadata->mutable_fields())["sequence"].set_number_value(static_cast<double>(sequence));
  return item;
}

void WriteHistory::Begin(const std::string& id, uint64_t sequence) {
  std::lock_guard<std::mutex> lock(mutex_);
  states_[id].pending = sequence;
}

void WriteHistory::Acknowledge(const std::string& id, uint64_t version) {
  std::lock_guard<std::mutex> lock(mutex_);
  State& state = states_[id];
  state.known = *state.pending;
  state.pending.reset();
  ++acknowledged_;
  newest_version_ = std::max(newest_version_, version);
}

uint64_t WriteHistory::acknowledged() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return acknowledged_;
}

uint64_t WriteHistory::newest_version() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return newest_version_;
}

void WriteHistory::Check(Collection* collection) {
  std::map<std::string, Record> found;
  ListOptions list;
  list.page_size = 1000;
  do {
    auto page = collection->List(list);
    ASSERT_TRUE(page.ok()) << page.status();
    for (Record& record : page->records) found[record.id] = std::move(record);
    list.page_token = page->next_page_token;
  } while (!list.page_token.empty());
  auto count = collection->Count("");
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(count->count, found.size());

  std::lock_guard<std::mutex> lock(mutex_);
  for (auto& [id, state] : states_) {
    auto at = found.find(id);
    const uint64_t sequence =
        at == found.end()
            ? 0
            : static_cast<uint64_t>(at->second.metadata.fields().at("sequence").number_value());
    const bool allowed = sequence == state.known || (state.pending && sequence == *state.pending);
    EXPECT_TRUE(allowed) << id << " is in state " << sequence << "; acknowledged was "
                         << state.known << ", under way "
                         << (state.pending ? std::to_string(*state.pending) : "nothing");
    state.known = sequence;
    state.pending.reset();
    if (at == found.end()) continue;
    std::vector<float> expected = ContentVector(id, sequence, dimension_);
    ASSERT_TRUE(MakeUnitVector(dimension_, &expected).ok());
    EXPECT_EQ(at->second.vector, expected) << id;
    found.erase(at);
  }
  EXPECT_TRUE(found.empty()) << found.begin()->first << " was never written";

  // What Get and List show is also what a search finds.
  std::mt19937 random(1);
  std::vector<std::string> live;
  for (const auto& [id, state] : states_) {
    if (state.known != 0) live.push_back(id);
  }
  std::shuffle(live.begin(), live.end(), random);
  live.resize(std::min<size_t>(live.size(), 10));
  for (const std::string& id : live) {
    Query query;
    query.vector = ContentVector(id, states_[id].known, dimension_);
    query.limit = 1;
    query.exact = true;
    auto result = collection->Search(query);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->hits.size(), 1u);
    EXPECT_EQ(result->hits[0].id, id);
    EXPECT_NEAR(result->hits[0].score, 1, 1e-5);
  }
}

}  // namespace imagesearch::index
