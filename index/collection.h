// The front door of one collection: upsert, delete, search, get, list, count. The embedded index
// (index/embedded_database.h: RocksDB for truth, FAISS for nearest neighbours) and Milvus stand
// behind it.
#ifndef IMAGESEARCH_INDEX_COLLECTION_H_
#define IMAGESEARCH_INDEX_COLLECTION_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "google/protobuf/struct.pb.h"
#include "index/duplicates.h"
#include "index/filter/expression.h"
#include "index/filter/value_count.h"
#include "index/job_control.h"

namespace imagesearch::index {

enum class IndexKind { kAuto, kFlat, kHnsw, kIvf };

// Ranges: see imagesearch.v1.Index. 0 means the default.
struct IndexOptions {
  IndexKind kind = IndexKind::kAuto;
  int hnsw_m = 0;
  int hnsw_ef_construction = 0;
  int hnsw_ef_search = 0;
  int ivf_nlist = 0;
  int ivf_nprobe = 0;
  float target_recall = 0;
  // Of kind kIvf: bytes of a product-quantised code, a divisor of the dimension; 0: 8-bit codes.
  int pq_bytes = 0;
  // Of kind kAuto: for codes, links and lists of the collection; 0: no bound.
  uint64_t memory_bytes = 0;
};

// What a collection may hold; 0: no limit.
struct Quota {
  uint64_t max_images = 0;
  // Of ids, vectors, metadata and kept originals, before compression.
  uint64_t max_bytes = 0;
};

struct CollectionOptions {
  std::string name;
  IndexOptions index;
  int dimension = 0;              // 1 to Limits::max_dimension
  std::string model_id;           // empty: a collection of ready vectors
  std::string model_fingerprint;  // empty likewise
  bool keep_originals = false;    // UpsertItem::original is stored
  Quota quota;
};

// Settings to change; what is absent stays.
struct CollectionUpdate {
  std::optional<Quota> quota;
  std::optional<bool> keep_originals;  // of what is stored from then on
  std::optional<float> target_recall;  // 0: the default; from the next index build on
};

struct CollectionInfo {
  CollectionOptions options;
  uint64_t image_count = 0;
  uint64_t disk_bytes = 0;
  uint64_t stored_bytes = 0;    // what counts against Quota::max_bytes
  uint64_t original_bytes = 0;  // of kept uploads; part of disk_bytes, about
  uint64_t memory_bytes = 0;
  uint64_t index_bytes = 0;  // of it: codes, links and lists, what IndexOptions bound
  IndexKind serving_kind = IndexKind::kFlat;
  int serving_pq_bytes = 0;  // 0: codes of 8 bits
  uint64_t version = 0;      // newest version that touched it
  uint32_t segments = 0;     // immutable indexes that a search visits
  uint64_t tail_rows = 0;    // rows that are not in one yet, and scanned
  // Recall@10 of recent answers to live queries without filter, against exact search, by a
  // background probe; nullopt: nothing measured yet.
  std::optional<double> recall_text;
  std::optional<double> recall_image;
};

// One image to write. Vectors of any positive finite norm; stored with length 1.
struct UpsertItem {
  std::string id;  // 1 to max_id_bytes
  std::optional<std::vector<float>>
      vector;  // absent: update metadata / expire_time of an existing image
  std::optional<google::protobuf::Struct>
      metadata;  // absent with a vector: none; absent without: kept
  absl::Time expire_time = absl::InfiniteFuture();
  std::string content_hash;                 // hex SHA-256 of the uploaded bytes, or empty
  std::optional<uint64_t> perceptual_hash;  // of the picture's pixels, where there are some
  // The uploaded bytes, to be kept where the collection does; empty: none. An image written with a
  // vector loses the original that it had before.
  std::string original;
  std::string source_uri;  // empty: none, or kept on an update of an existing image
  // In a collection that is being filled by re-embedding: the version of the source's image.
  uint64_t source_version = 0;
};

struct UpsertOptions {
  bool create_only = false;
  // Looks at items with a vector. An image of the item's own id is no duplicate of it; an item
  // before it in the batch, with another id, can be one.
  OnDuplicate on_duplicate = OnDuplicate::kKeep;
  DuplicateTier tier = DuplicateTier::kSamePicture;

  friend bool operator==(const UpsertOptions& a, const UpsertOptions& b) {
    return a.create_only == b.create_only && a.on_duplicate == b.on_duplicate && a.tier == b.tier;
  }
};

struct UpsertItemResult {
  absl::Status status;
  bool created = false;
  bool skipped = false;                  // a duplicate, not written
  std::vector<DuplicateRef> duplicates;  // what it duplicates, the surest first, at most 10
};

struct UpsertResult {
  std::vector<UpsertItemResult> items;  // one for each item, in order
  uint64_t version = 0;                 // of this batch; 0 when nothing was written
};

// Which population a query vector comes from: text vectors lie far from image vectors, and the
// index treats them apart.
enum class QueryKind { kText, kImage, kMixed };

struct Query {
  std::vector<float> vector;  // the collection's dimension, finite, norm > 0
  QueryKind kind = QueryKind::kImage;
  std::string filter;  // empty: none
  int limit = 10;      // >= 1
  int offset = 0;      // >= 0
  std::optional<float> min_score;
  bool exact = false;
  bool with_metadata = false;
  bool with_vector = false;
  bool with_identity = false;  // content_hash and perceptual_hash of hits
};

struct Hit {
  std::string id;
  float score = 0;                    // cosine, float32
  google::protobuf::Struct metadata;  // when asked for
  std::vector<float> vector;          // when asked for
  std::string content_hash;           // when asked for
  std::optional<uint64_t> perceptual_hash;
};

struct SearchResult {
  std::vector<Hit> hits;  // best first, equal scores by id
  uint64_t version = 0;
};

struct Record {
  std::string id;
  std::vector<float> vector;  // length 1; empty when not asked for
  google::protobuf::Struct metadata;
  absl::Time expire_time = absl::InfiniteFuture();
  std::string content_hash;
  uint64_t version = 0;
  std::optional<uint64_t> perceptual_hash;
  uint64_t original_bytes = 0;  // 0: its upload isn't kept
  std::string original;         // when asked for
  std::string source_uri;
  uint64_t source_version = 0;  // see UpsertItem
};

struct ListOptions {
  std::string filter;
  int page_size = 100;     // >= 1
  std::string page_token;  // empty: from the start
  bool with_vector = true;
  uint64_t max_bytes =
      0;  // stop a page before it would exceed this many bytes (at least 1 record); 0: no bound
};

struct ListPage {
  std::vector<Record> records;  // by id
  std::string next_page_token;  // empty: last page
  uint64_t version = 0;
};

struct DeleteResult {
  uint64_t deleted = 0;
  uint64_t version = 0;  // newest version, also when nothing was deleted
};

// A merge patch of metadata (RFC 7396: null takes a key away, objects merge, all else replaces).
struct UpdateOptions {
  // Judges what an image's metadata would become; its error refuses the batch. Null: all is taken.
  std::function<absl::Status(const google::protobuf::Struct&)> check;
  // Asked before each batch of an update by filter; an error ends it. Null: never.
  std::function<absl::Status()> proceed;
};

struct MetadataPatch {
  std::string id;
  google::protobuf::Struct patch;
};

struct UpdateResult {
  uint64_t matched = 0;
  uint64_t updated = 0;             // of those: images whose metadata became others
  std::vector<absl::Status> items;  // by ids: one for each, NOT_FOUND where there is no image
  uint64_t version = 0;
};

struct CountResult {
  uint64_t count = 0;
  uint64_t version = 0;
};

// Some stored vectors, chosen at random.
struct VectorSample {
  std::vector<float> vectors;  // (n, dimension) row-major, length 1
  uint64_t live = 0;           // images of the collection
  uint64_t version = 0;        // newest that touched the collection
};

// Words to look for in the metadata. An image matches when it has any of them.
struct KeywordQuery {
  std::string text;
  std::vector<FieldPath> fields;  // empty: every string field
  std::string filter;             // empty: none
  size_t limit = 10;
};

struct KeywordHit {
  std::string id;
  float score = 0;  // BM25, above 0
};

struct KeywordResult {
  std::vector<KeywordHit> hits;  // best first
};

// Thread-safe. A write that returned OK is on disk (log synced) and seen by every read that starts
// afterwards; a batch is seen as a whole or not at all. Errors: INVALID_ARGUMENT (DIM_MISMATCH,
// NOT_FINITE, ZERO_NORM, BAD_FILTER, BAD_ID, BAD_PAGE_TOKEN), NOT_FOUND, ALREADY_EXISTS,
// RESOURCE_EXHAUSTED (DISK_FULL, QUOTA), UNAVAILABLE, DATA_LOSS.
class Collection {
 public:
  virtual ~Collection() = default;

  // As they are now: name and settings may change, model and dimension never do.
  virtual CollectionOptions options() const = 0;
  virtual CollectionInfo Info() const = 0;

  // An id given twice in one batch: the last one wins, both report its result. Bad items fail
  // alone.
  virtual absl::StatusOr<UpsertResult> Upsert(std::vector<UpsertItem> items,
                                              const UpsertOptions& options) = 0;
  virtual absl::StatusOr<DeleteResult> Delete(absl::Span<const std::string> ids) = 0;
  virtual absl::StatusOr<DeleteResult> DeleteByFilter(const std::string& filter) = 0;

  // Patches the metadata of the images that exist; vectors stay. All or none: what `check` refuses,
  // or a failed write, leaves every image as it was. An image that the patch leaves as it is isn't
  // written. UNIMPLEMENTED where the backend has no such write.
  virtual absl::StatusOr<UpdateResult> UpdateMetadata(absl::Span<const std::string> ids,
                                                      const google::protobuf::Struct& patch,
                                                      const UpdateOptions& options) {
    return NotOffered("merge patches of metadata");
  }
  // The same for all that match, in batches of which each is all or none; the error of a later one
  // tells how many images were updated before it. Sent again it goes on where it ended.
  virtual absl::StatusOr<UpdateResult> UpdateMetadataByFilter(const std::string& filter,
                                                              const google::protobuf::Struct& patch,
                                                              const UpdateOptions& options) {
    return NotOffered("merge patches of metadata");
  }

  // A patch of its own for each image, all or none; else as UpdateMetadata.
  virtual absl::StatusOr<UpdateResult> PatchEach(absl::Span<const MetadataPatch> patches,
                                                 const UpdateOptions& options) {
    return NotOffered("merge patches of metadata");
  }

  // One image with its kept upload (Record::original) in one state; nullopt where missing or
  // expired. The original stays empty where none is kept, or where it has more than `max_bytes`.
  virtual absl::StatusOr<std::optional<Record>> GetWithOriginal(const std::string& id,
                                                                bool with_vector,
                                                                uint64_t max_bytes) {
    return NotOffered("originals");
  }

  // Groups what matches by duplicates (index/duplicates.h) over one state. Calls `visitor` from
  // this thread; its error ends the work. Takes about 60 bytes of memory for each image;
  // RESOURCE_EXHAUSTED TOO_MANY_IMAGES above 20 million.
  virtual absl::StatusOr<DuplicatesSummary> FindDuplicates(const DuplicatesQuery& query,
                                                           DuplicatesVisitor* visitor) {
    return NotOffered("reports of duplicates");
  }

  virtual absl::StatusOr<SearchResult> Search(const Query& query) = 0;
  // Several searches over one state; the scan of FLAT is shared. Result i belongs to queries[i].
  virtual std::vector<absl::StatusOr<SearchResult>> SearchBatch(
      absl::Span<const Query> queries) = 0;

  // One entry for each id; nullopt where missing or expired.
  virtual absl::StatusOr<std::vector<std::optional<Record>>> Get(absl::Span<const std::string> ids,
                                                                 bool with_vector) = 0;
  virtual absl::StatusOr<CountResult> Count(const std::string& filter) = 0;
  virtual absl::StatusOr<ListPage> List(const ListOptions& options) = 0;

  // At most `n` live images, without repetition; the same ones for the same version. Takes time in
  // proportion to `n`. UNIMPLEMENTED where the engine has no cheap way: see SampleOf
  // (index/rank/relevance.h) for what takes its place.
  virtual absl::StatusOr<VectorSample> Sample(size_t n) {
    return absl::UnimplementedError("this engine has no samples");
  }

  // By BM25 over the string fields of the metadata (index/keyword/keyword_index.h). UNIMPLEMENTED
  // where the engine has no such index; UNAVAILABLE KEYWORDS_NOT_READY while another call builds
  // it.
  virtual absl::StatusOr<KeywordResult> SearchKeywords(const KeywordQuery& query) {
    return absl::UnimplementedError("this engine has no keyword search");
  }

  // The `limit` most frequent values of a field over all images that match `filter`: strings,
  // numbers and booleans, a list's elements. UNIMPLEMENTED where the engine has no index of fields:
  // see CountValuesOf (index/rank/facets.h).
  virtual absl::StatusOr<std::vector<ValueCount>> CountValues(const std::string& filter,
                                                              const FieldPath& field,
                                                              size_t limit) {
    return absl::UnimplementedError("this engine does not count values");
  }

  // Builds the best index over everything stored so far and waits for it (tests, benchmarks, after
  // a bulk load).
  virtual absl::Status Optimize() = 0;

  // Optimize, and the space of deleted and overwritten images given back to the disk. Reads and
  // writes go on meanwhile. CANCELLED.
  virtual absl::Status Compact(const JobControl& control) { return Optimize(); }

 protected:
  // What a backend may leave out.
  static absl::Status NotOffered(const std::string& what) {
    return absl::UnimplementedError("this backend offers no " + what);
  }
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_COLLECTION_H_
