// How the store's RocksDB is opened, by its writer and by its readers alike.
#ifndef IMAGESEARCH_INDEX_STORE_ROCKS_OPTIONS_H_
#define IMAGESEARCH_INDEX_STORE_ROCKS_OPTIONS_H_

#include <cstdarg>
#include <cstdint>
#include <vector>

#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/options.h"

namespace imagesearch::index {

// Keeps RocksDB from leaving a log file in a folder that is only read.
class NoLog : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {}
};

// `env` is not null. What is in memory fits into `disk_reserve_bytes` when it is written out.
rocksdb::DBOptions MakeDbOptions(rocksdb::Env* env, uint64_t disk_reserve_bytes);

// One for each Family, in its order.
std::vector<rocksdb::ColumnFamilyDescriptor> MakeFamilies();

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_ROCKS_OPTIONS_H_
