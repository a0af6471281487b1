#include "index/store/rocks_options.h"

#include <algorithm>
#include <string>

#include "index/store/rocks_store.h"
#include "rocksdb/cache.h"
#include "rocksdb/convenience.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/table.h"

namespace imagesearch::index {
namespace {

constexpr const char* kFamilyNames[kFamilies] = {"default", "items",     "vectors",
                                                 "changes", "originals", "fields"};

}  // namespace

rocksdb::DBOptions MakeDbOptions(rocksdb::Env* env, uint64_t disk_reserve_bytes) {
  rocksdb::DBOptions options;
  options.env = env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.paranoid_checks = true;
  // A torn tail after a crash is normal; CheckAcknowledged notices when more than that is gone.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  // Readers that follow (secondary_store.cc) see all families at one state.
  options.atomic_flush = true;
  options.track_and_verify_wals_in_manifest = true;
  options.max_total_wal_size = 128 << 20;  // bounds the replay at start
  // What is in memory must fit into the reserve when it is written out.
  options.db_write_buffer_size = std::clamp<uint64_t>(disk_reserve_bytes / 4, 4 << 20, 64 << 20);
  options.max_background_jobs = 2;
  options.max_bgerror_resume_count = 0;  // reopening decides, not a retry behind our back
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.keep_log_file_num = 4;
  options.max_log_file_size = 4 << 20;
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> MakeFamilies() {
  const auto supported = rocksdb::GetSupportedCompressions();
  const bool lz4 =
      std::find(supported.begin(), supported.end(), rocksdb::kLZ4Compression) != supported.end();
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(32 << 20);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.block_size = 16 << 10;
  table.cache_index_and_filter_blocks = true;
  table.format_version = 5;
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const char* name : kFamilyNames) {
    rocksdb::ColumnFamilyOptions options;
    const bool originals = std::string(name) == "originals";
    const bool packed = originals || std::string(name) == "vectors";  // nothing to gain
    options.compression = lz4 && !packed ? rocksdb::kLZ4Compression : rocksdb::kNoCompression;
    if (originals) {
      // Few, large levels: what is compacted is written again, and uploads are large.
      options.target_file_size_base = 256 << 20;
      options.max_bytes_for_level_base = uint64_t{1} << 30;
    }
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    options.write_buffer_size = 32 << 20;
    families.emplace_back(name, options);
  }
  return families;
}

}  // namespace imagesearch::index
