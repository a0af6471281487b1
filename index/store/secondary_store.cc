// RocksStore beside the process that writes the folder: RocksDB's secondary instance.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/store/data_folder.h"
#include "index/store/keys.h"
#include "index/store/rocks_options.h"
#include "index/store/rocks_status.h"
#include "index/store/rocks_store.h"

namespace imagesearch::index {
namespace {

// A file that the writer removed meanwhile is no damage: the next try finds what took its place.
absl::Status Moving(const rocksdb::Status& status, const std::string& what) {
  absl::Status moved = FromRocks(status, what);
  if (status.ok() || absl::IsNotFound(moved)) return moved;
  return Error(absl::StatusCode::kUnavailable, "STORE_MOVING", std::string(moved.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RocksStore>> RocksStore::OpenSecondary(const StoreOptions& options) {
  const std::string path = options.data_dir + "/db";
  if (!options.env->FileExists(options.data_dir + "/FORMAT").ok() ||
      !options.env->FileExists(path + "/CURRENT").ok()) {
    return absl::NotFoundError(absl::StrCat("no writer has made ", options.data_dir, " yet"));
  }
  absl::Status status = PrepareDataFolder(options.env, options.data_dir);  // FORMAT can be read
  if (!status.ok()) return status;
  std::unique_ptr<RocksStore> store(new RocksStore(options));
  store->secondary_ = true;
  rocksdb::DBOptions db_options = MakeDbOptions(options.env, options.disk_reserve_bytes);
  db_options.create_if_missing = false;
  db_options.create_missing_column_families = false;
  db_options.track_and_verify_wals_in_manifest = false;
  db_options.db_write_buffer_size = 0;  // the writer decides when memtables go
  db_options.max_open_files = -1;       // files that the writer removes stay readable
  db_options.info_log = std::make_shared<NoLog>();
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  rocksdb::Status opened = rocksdb::DB::OpenAsSecondary(db_options, path, options.data_dir,
                                                        MakeFamilies(), &handles, &db);
  if (!opened.ok()) return Moving(opened, "following " + path);
  store->db_.reset(db);
  std::copy(handles.begin(), handles.end(), store->handles_.begin());
  absl::StatusOr<uint64_t> version = store->CatchUp();
  if (!version.ok()) return version.status();
  store->recovered_version_ = *version;
  opened = db->Get(rocksdb::ReadOptions(), kInstanceKey, &store->instance_id_);
  if (!opened.ok()) return Moving(opened, "reading the instance id");
  opened = db->Get(rocksdb::ReadOptions(), kTimelineKey, &store->timeline_);
  if (!opened.ok() && !opened.IsNotFound()) return Moving(opened, "reading the timeline");
  return store;
}

absl::StatusOr<uint64_t> RocksStore::CatchUp() {
  rocksdb::Status status = db_->TryCatchUpWithPrimary();
  if (!status.ok()) return Moving(status, "following the writer");
  std::string value;
  status = db_->Get(rocksdb::ReadOptions(), kVersionKey, &value);
  if (!status.ok()) return Moving(status, "reading the version");
  if (value.size() != sizeof(uint64_t)) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", "the version record is damaged");
  }
  return ReadBigEndian<uint64_t>(value);
}

}  // namespace imagesearch::index
