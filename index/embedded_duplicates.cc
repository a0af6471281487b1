// EmbeddedCollection's search for duplicates over one view: equal bytes by sorting, equal pictures
// by multi-index hashing, look-alikes by the nearest neighbours of each image; union-find brings
// what belongs together into groups.
#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/embedded_collection.h"
#include "index/store/dot.h"
#include "index/store/keys.h"
#include "index/store/multi_index_hash.h"
#include "index/store/search.h"
#include "index/store/unit_vector.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kMaxImages = 20'000'000;
constexpr uint32_t kProgressEvery = 4096;
constexpr size_t kImagesOfMessage = 1000;
constexpr size_t kBatch = 32;  // images whose neighbours are searched together
// Neighbours of each image; what lies beyond is reached through theirs.
constexpr size_t kNeighbours = 16;
// Images with about the same hash that one image is compared with: bounds the work where many
// different pictures share a hash.
constexpr size_t kMaxCompared = 1000;

// One image of the report.
struct Entry {
  std::array<uint64_t, 2> content{};  // the first 128 bits of the hash; zeros: none
  uint64_t picture = 0;
  uint32_t slot = 0;
  bool has_picture = false;

  bool has_content() const { return content[0] != 0 || content[1] != 0; }
};

// With union by size and path halving.
class UnionFind {
 public:
  explicit UnionFind(uint32_t count) : parent_(count), size_(count, 1) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }
  uint32_t Root(uint32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void Join(uint32_t a, uint32_t b) {
    a = Root(a);
    b = Root(b);
    if (a == b) return;
    if (size_[a] < size_[b]) std::swap(a, b);
    parent_[b] = a;
    size_[a] += size_[b];
  }
  uint32_t Size(uint32_t root) const { return size_[root]; }

 private:
  std::vector<uint32_t> parent_, size_;
};

class Report {
 public:
  Report(const View& view, const SlotSet* allowed, int dimension, const DuplicatesQuery& query,
         DuplicatesVisitor* visitor)
      : view_(view), allowed_(allowed), dimension_(dimension), query_(query), visitor_(*visitor) {}

  // Keeps what is live and allowed.
  absl::Status Add(const records::Item& item) {
    const std::optional<RowRef> row = view_.Find(item.slot());
    if (!row || !row->alive || (allowed_ != nullptr && !allowed_->Contains(item.slot()))) {
      return absl::OkStatus();
    }
    if (entries_.size() == kMaxImages) {
      return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_IMAGES",
                   absl::StrCat("more than ", kMaxImages, " images match; give a filter"));
    }
    Entry entry;
    entry.slot = item.slot();
    entry.has_picture = item.has_perceptual_hash();
    entry.picture = item.perceptual_hash();
    const std::string bytes = absl::HexStringToBytes(item.content_hash().substr(0, 32));
    if (bytes.size() == 16) {
      entry.content = {ReadBigEndian<uint64_t>(bytes),
                       ReadBigEndian<uint64_t>(absl::string_view(bytes).substr(8))};
    }
    entries_.push_back(entry);
    return absl::OkStatus();
  }

  absl::StatusOr<DuplicatesSummary> Run() {
    std::sort(entries_.begin(), entries_.end(),
              [](const Entry& a, const Entry& b) { return a.slot < b.slot; });
    groups_ = std::make_unique<UnionFind>(static_cast<uint32_t>(entries_.size()));
    JoinSameBytes();
    if (query_.tier >= DuplicateTier::kSamePicture) {
      absl::Status status = JoinSamePictures();
      if (!status.ok()) return status;
    }
    if (query_.tier >= DuplicateTier::kLookAlike) {
      absl::Status status = JoinLookAlikes();
      if (!status.ok()) return status;
    }
    return Emit();
  }

 private:
  const float* VectorOf(uint32_t i) const { return view_.Find(entries_[i].slot)->vector; }
  float Cosine(uint32_t a, uint32_t b) const {
    return std::clamp(Dot(VectorOf(a), VectorOf(b), dimension_), -1.0f, 1.0f);
  }
  absl::Status Progress(uint32_t examined) {
    if (examined % kProgressEvery != 0) return absl::OkStatus();
    return visitor_.OnProgress(examined, entries_.size());
  }

  void JoinSameBytes() {
    std::vector<uint32_t> order;
    for (uint32_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].has_content()) order.push_back(i);
    }
    std::sort(order.begin(), order.end(),
              [this](uint32_t a, uint32_t b) { return entries_[a].content < entries_[b].content; });
    for (size_t i = 1; i < order.size(); ++i) {
      if (entries_[order[i]].content == entries_[order[i - 1]].content) {
        groups_->Join(order[i], order[i - 1]);
      }
    }
  }

  absl::Status JoinSamePictures() {
    MultiIndexHash seen;
    for (uint32_t i = 0; i < entries_.size(); ++i) {
      absl::Status status = Progress(i);
      if (!status.ok()) return status;
      if (!entries_[i].has_picture) continue;
      bool covered = false;  // an image with this very hash stands for it
      size_t compared = 0;
      seen.Find(entries_[i].picture, kSamePictureBits, [&](uint32_t other, int distance) {
        const bool together = groups_->Root(i) == groups_->Root(other);
        if (!together) {
          const bool sure = distance <= kSurePictureBits;
          if (!IsSamePicture(distance, sure ? 1 : Cosine(i, other))) {
            return ++compared < kMaxCompared;
          }
          groups_->Join(i, other);
        }
        covered |= distance == 0;
        return ++compared < kMaxCompared;
      });
      if (!covered) seen.Add(i, entries_[i].picture);
    }
    return absl::OkStatus();
  }

  absl::Status JoinLookAlikes() {
    for (size_t begin = 0; begin < entries_.size(); begin += kBatch) {
      absl::Status status = visitor_.OnProgress(begin, entries_.size());
      if (!status.ok()) return status;
      std::vector<SearchSpec> specs;
      for (size_t i = begin; i < std::min(begin + kBatch, entries_.size()); ++i) {
        SearchSpec spec;
        spec.vector = VectorOf(static_cast<uint32_t>(i));
        spec.k = kNeighbours;
        spec.allowed = allowed_;
        specs.push_back(spec);
      }
      const auto found = SearchView(view_, dimension_, specs);
      for (size_t q = 0; q < found.size(); ++q) {
        for (const Candidate& neighbour : found[q]) {
          if (neighbour.score < query_.look_alike) break;
          const std::optional<uint32_t> other = EntryOf(neighbour);
          if (other) groups_->Join(static_cast<uint32_t>(begin + q), *other);
        }
      }
    }
    return absl::OkStatus();
  }

  // By its vector, which lies in the view.
  std::optional<uint32_t> EntryOf(const Candidate& candidate) {
    if (by_vector_.empty()) {
      by_vector_.reserve(entries_.size());
      for (uint32_t i = 0; i < entries_.size(); ++i) by_vector_.emplace_back(VectorOf(i), i);
      std::sort(by_vector_.begin(), by_vector_.end());
    }
    const auto at = std::lower_bound(by_vector_.begin(), by_vector_.end(),
                                     std::pair(candidate.vector, uint32_t{0}));
    if (at == by_vector_.end() || at->first != candidate.vector) return std::nullopt;
    return at->second;
  }

  ImageIdentity IdentityOf(uint32_t i, std::string* hash) const {
    ImageIdentity identity;
    if (entries_[i].has_content()) {
      *hash = absl::StrCat(absl::Hex(entries_[i].content[0], absl::kZeroPad16),
                           absl::Hex(entries_[i].content[1], absl::kZeroPad16));
      identity.content_hash = *hash;
    }
    if (entries_[i].has_picture) identity.perceptual_hash = entries_[i].picture;
    return identity;
  }

  DuplicateRef RefOf(uint32_t i, uint32_t first) const {
    DuplicateRef ref;
    ref.id = std::string(view_.Find(entries_[i].slot)->id);
    if (i == first) {
      ref.score = 1;
      return ref;
    }
    std::string a, b;
    ref.score = Cosine(i, first);
    ref.tier =
        TierOf(IdentityOf(first, &a), IdentityOf(i, &b), ref.score, query_.tier, query_.look_alike);
    // In the group through others: as far as the report goes.
    if (ref.tier == DuplicateTier::kNone) ref.tier = query_.tier;
    return ref;
  }

  absl::StatusOr<DuplicatesSummary> Emit() {
    DuplicatesSummary summary;
    summary.images = entries_.size();
    summary.version = view_.version;
    // Images of each group together, by slot; groups by their first image.
    std::vector<std::pair<uint32_t, uint32_t>> members;  // first image, image
    std::vector<uint32_t> first(entries_.size(), UINT32_MAX);
    for (uint32_t i = 0; i < entries_.size(); ++i) {
      const uint32_t root = groups_->Root(i);
      if (groups_->Size(root) == 1) continue;
      if (first[root] == UINT32_MAX) first[root] = i;
      members.emplace_back(first[root], i);
    }
    std::sort(members.begin(), members.end());
    for (size_t begin = 0; begin < members.size();) {
      const uint32_t leader = members[begin].first;
      DuplicateGroup group;
      group.number = ++summary.groups;
      group.size = groups_->Size(groups_->Root(leader));
      summary.duplicates += group.size - 1;
      const size_t end = begin + group.size;
      while (begin < end) {
        const size_t until = std::min(end, begin + kImagesOfMessage);
        group.images.clear();
        for (; begin < until; ++begin) group.images.push_back(RefOf(members[begin].second, leader));
        absl::Status status = visitor_.OnGroup(group);
        if (!status.ok()) return status;
      }
    }
    return summary;
  }

  const View& view_;
  const SlotSet* const allowed_;
  const int dimension_;
  const DuplicatesQuery& query_;
  DuplicatesVisitor& visitor_;
  std::vector<Entry> entries_;  // by slot once Run
  std::unique_ptr<UnionFind> groups_;
  std::vector<std::pair<const float*, uint32_t>> by_vector_;
};

}  // namespace

absl::StatusOr<DuplicatesSummary> EmbeddedCollection::FindDuplicates(const DuplicatesQuery& query,
                                                                     DuplicatesVisitor* visitor) {
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (!status.ok()) return status;
  auto filter = Filter::Parse(query.filter, engine_->options.limits);
  if (!filter.ok()) return filter.status();
  state_->HideExpired(engine_->NowMicros());
  const CollectionState::Reading reading = state_->Read({&*filter});
  const View& view = *reading.view;
  Report report(view, reading.allowed[0].get(), state_->options.dimension, query, visitor);
  RocksStore::Range range =
      engine_->store->Scan(Family::kItems, CollectionPrefix(state_->id),
                           CollectionPrefix(state_->id + 1), view.snapshot, /*sequential=*/true);
  records::Item item;
  uint64_t read = 0;
  for (; range.Valid(); range.Next()) {
    if (!item.ParseFromArray(range.value().data(), static_cast<int>(range.value().size()))) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", "a record is unreadable");
    }
    status = report.Add(item);
    if (status.ok() && ++read % kProgressEvery == 0) status = visitor->OnProgress(0, view.live);
    if (!status.ok()) return status;
  }
  status = range.status();
  if (!status.ok()) return status;
  return report.Run();
}

std::vector<std::vector<DuplicateRef>> EmbeddedCollection::FindLookAlikes(
    absl::Span<const UpsertItem> items, const UpsertOptions& upsert) const {
  if (upsert.on_duplicate == OnDuplicate::kKeep || upsert.tier < DuplicateTier::kLookAlike) {
    return {};
  }
  std::vector<std::vector<DuplicateRef>> found(items.size());
  state_->HideExpired(engine_->NowMicros());
  const std::shared_ptr<const View> view = state_->view();
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].vector) continue;
    std::vector<float> vector = *items[i].vector;
    if (!MakeUnitVector(state_->options.dimension, &vector).ok()) continue;
    SearchSpec spec;
    spec.vector = vector.data();
    spec.k = kNeighbours;
    const auto nearest = SearchView(*view, state_->options.dimension, {&spec, 1});
    for (const Candidate& candidate : nearest[0]) {
      if (candidate.score < kLookAlikeCosine) break;
      found[i].push_back({std::string(candidate.id), DuplicateTier::kLookAlike, candidate.score});
    }
  }
  return found;
}

}  // namespace imagesearch::index
