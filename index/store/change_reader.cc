#include "index/store/change_reader.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/store/keys.h"
#include "index/store/records.pb.h"
#include "index/store/vector_value.h"

namespace imagesearch::index {
namespace {

// What happened to one image: where it was before, and where the newest change left it.
struct Net {
  std::optional<uint32_t> old_slot;
  google::protobuf::Struct old_metadata;
  bool has_old_metadata = false;
  StoredIdentity old_identity;
  int64_t stored_bytes = 0;
  uint64_t version = 0;          // of the newest change
  std::optional<uint32_t> slot;  // after it
};

struct Nets {
  uint64_t version = 0;
  absl::flat_hash_map<std::string, Net> of_id;
};

absl::Status Behind(absl::string_view what) {
  return absl::AbortedError(absl::StrCat("the store is not whole yet: ", what));
}

void Add(records::ItemChange* change, uint64_t version, Nets* nets) {
  auto [at, first] = nets->of_id.try_emplace(change->id());
  Net& net = at->second;
  if (first) {
    if (change->has_removed_slot()) net.old_slot = change->removed_slot();
    if (change->has_updated_slot()) net.old_slot = change->updated_slot();
    net.has_old_metadata = change->has_old_metadata();
    net.old_identity.content_hash = change->old_content_hash();
    if (change->has_old_perceptual_hash()) {
      net.old_identity.perceptual_hash = change->old_perceptual_hash();
    }
    net.old_metadata = std::move(*change->mutable_old_metadata());
  }
  net.stored_bytes += change->stored_bytes();
  net.version = version;
  net.slot = std::nullopt;
  if (change->has_added_slot()) net.slot = change->added_slot();
  if (change->has_updated_slot()) net.slot = change->updated_slot();
}

// Checks the records of one image against what is stored, and says what changes in memory; nullopt:
// nothing.
absl::StatusOr<std::optional<MemoryChange>> Resolve(const RocksStore& store, uint32_t collection,
                                                    int dimension, const std::string& id,
                                                    Net* net) {
  std::string value;
  absl::Status read = store.Get(Family::kItems, ItemKey(collection, id), nullptr, &value);
  if (!read.ok() && !absl::IsNotFound(read)) return read;
  if (read.ok() != net->slot.has_value()) return Behind(absl::StrCat("image '", id, "'"));
  MemoryChange change;
  change.id = id;
  change.stored_bytes = net->stored_bytes;
  change.old_metadata = std::move(net->old_metadata);
  if (!net->slot) {
    if (!net->old_slot) return std::nullopt;  // came and went
    change.removed_slot = net->old_slot;
    change.old_identity = std::move(net->old_identity);
    return change;
  }
  records::Item item;
  if (!item.ParseFromString(value)) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                 absl::StrCat("the record of image '", id, "' is unreadable"));
  }
  if (item.version() != net->version || item.slot() != *net->slot) {
    return Behind(absl::StrCat("image '", id, "'"));
  }
  change.metadata = std::move(*item.mutable_metadata());
  change.expire_micros = item.expire_unix_micros();
  if (net->slot == net->old_slot) {
    change.updated_slot = net->slot;
    return change;
  }
  change.added_slot = net->slot;
  change.identity = StoredIdentity::Of(item);
  change.removed_slot = net->old_slot;
  change.old_identity = std::move(net->old_identity);
  read = store.Get(Family::kVectors, VectorKey(collection, *net->slot), nullptr, &value);
  if (absl::IsNotFound(read)) return Behind(absl::StrCat("the vector of image '", id, "'"));
  if (!read.ok()) return read;
  absl::string_view owner;
  if (!DecodeVectorValue(value, dimension, &owner, &change.vector)) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                 absl::StrCat("the vector of slot ", *net->slot, " is unreadable"));
  }
  return change;
}

}  // namespace

absl::StatusOr<ChangeSet> ReadChanges(const RocksStore& store, uint64_t after, uint64_t to,
                                      const std::function<int(uint32_t collection)>& dimension_of) {
  ChangeSet set;
  std::map<uint32_t, Nets> nets;
  std::set<uint32_t> deleted;
  uint64_t version = after;
  RocksStore::Range range = store.Scan(Family::kChanges, ChangeKey(after + 1), ChangeKey(to + 1),
                                       nullptr, /*sequential=*/false);
  records::Change change;
  for (; range.Valid(); range.Next()) {
    if (ReadBigEndian<uint64_t>(range.key()) != ++version) {
      return absl::OutOfRangeError(absl::StrCat("no change record of version ", version));
    }
    if (!change.ParseFromArray(range.value().data(), static_cast<int>(range.value().size()))) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   absl::StrCat("the change record of version ", version, " is unreadable"));
    }
    if (change.kind() != records::Change::WRITE) {
      set.catalog = true;
      if (change.kind() == records::Change::DELETE_COLLECTION) deleted.insert(change.collection());
      continue;
    }
    if (dimension_of(change.collection()) == 0) continue;
    Nets& of_collection = nets[change.collection()];
    of_collection.version = version;
    for (records::ItemChange& item : *change.mutable_items()) Add(&item, version, &of_collection);
  }
  absl::Status status = range.status();
  if (!status.ok()) return status;
  if (version != to) {
    return absl::OutOfRangeError(absl::StrCat("no change record of version ", version + 1));
  }
  for (auto& [collection, of_collection] : nets) {
    if (deleted.count(collection) > 0) continue;
    CollectionChanges& result = set.collections[collection];
    result.version = of_collection.version;
    for (auto& [id, net] : of_collection.of_id) {
      if (net.old_slot && !net.has_old_metadata) result.incomplete = true;
      auto resolved = Resolve(store, collection, dimension_of(collection), id, &net);
      if (!resolved.ok()) return resolved.status();
      if (resolved->has_value()) result.changes.push_back(*std::move(*resolved));
    }
    std::sort(result.changes.begin(), result.changes.end(),
              [](const MemoryChange& a, const MemoryChange& b) {
                return a.added_slot.value_or(0) < b.added_slot.value_or(0);
              });
  }
  return set;
}

}  // namespace imagesearch::index
