// The columns of an image in Milvus, and records to and from them.
//
//   id       VARCHAR key     at most kMaxIdBytes
//   vector   FLOAT_VECTOR    length 1; indexed with metric IP
//   metadata JSON            as it came
//   terms    JSON            what filters ask (terms.h)
//   expires  INT64           microseconds since 1970; kNever: never
//   hash     VARCHAR         content_hash
//   version  INT64           of the write
#ifndef IMAGESEARCH_INDEX_MILVUS_ROW_H_
#define IMAGESEARCH_INDEX_MILVUS_ROW_H_

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/collection.h"
#include "index/milvus/session.h"

namespace imagesearch::index {

inline constexpr char kVectorColumn[] = "vector";
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
inline constexpr uint32_t kMaxIdBytes = 1024;

// Of a collection with vectors of this dimension.
pb::CollectionSchema MakeSchema(const std::string& name, int dimension);

struct Row {
  std::string id;
  std::vector<float> vector;
  std::string metadata_json;
  std::string terms_json;
  int64_t expires = kNever;
  std::string hash;
  uint64_t version = 0;

  uint64_t bytes() const;  // about
};

int64_t ExpiresOf(absl::Time time);

// Fills metadata_json and terms_json. INVALID_ARGUMENT METADATA_TOO_LARGE when one exceeds what
// Milvus keeps.
absl::Status SetMetadata(const google::protobuf::Struct& metadata, Row* row);

// As columns of one Upsert; all vectors have `dimension` values.
void FillColumns(absl::Span<const Row> rows, int dimension,
                 google::protobuf::RepeatedPtrField<pb::FieldData>* columns);

// The columns to ask for to make records.
std::vector<std::string> RecordColumns(bool with_vector);

// Rows out of columns, which may come in any order. INTERNAL MILVUS_ERROR when they don't fit
// together.
absl::StatusOr<std::vector<Record>> ToRecords(
    const google::protobuf::RepeatedPtrField<pb::FieldData>& columns, int dimension,
    bool with_vector);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_MILVUS_ROW_H_
