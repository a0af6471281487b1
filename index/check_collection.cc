// Names, dimensions and the ranges of index options.
#include "index/check_collection.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "index/ann/budget.h"

namespace imagesearch::index {
namespace {

constexpr size_t kMaxNameBytes = 64;

// Whether pq_bytes and memory_bytes belong to the kind, and the first to the dimension.
absl::Status CheckQuantisation(const IndexOptions& index, int dimension) {
  if (index.memory_bytes > 0 && index.kind != IndexKind::kAuto) {
    return InvalidArgument("BAD_INDEX",
                           "memory_bytes is for an index of kind AUTO; the other kinds take what "
                           "they take");
  }
  if (index.pq_bytes == 0) return absl::OkStatus();
  if (index.kind != IndexKind::kIvf) {
    return InvalidArgument("BAD_INDEX",
                           "pq_bytes is for an index of kind IVF; AUTO chooses its own by "
                           "memory_bytes");
  }
  const std::vector<int> allowed = PqSizes(dimension);
  if (std::find(allowed.begin(), allowed.end(), index.pq_bytes) == allowed.end()) {
    return InvalidArgument(
        "BAD_INDEX",
        absl::StrCat("pq_bytes is ", index.pq_bytes, "; ", absl::StrJoin(allowed, ", "),
                     " are allowed for a dimension of ", dimension, ", and 0 for codes of 8 bits"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckRange(absl::string_view field, double value, double low, double high) {
  if (value == 0 || (value >= low && value <= high)) return absl::OkStatus();
  return InvalidArgument("BAD_INDEX", absl::StrCat(field, " is ", value, "; ", low, " to ", high,
                                                   " are allowed, and 0 for the default"));
}

absl::Status CheckName(const std::string& name, absl::string_view what) {
  auto allowed = [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_' || c == '-';
  };
  if (name.empty() || name.size() > kMaxNameBytes ||
      !std::all_of(name.begin(), name.end(), allowed) || name[0] == '_' || name[0] == '-') {
    return InvalidArgument(
        "BAD_NAME", absl::StrCat("the name of ", what, " has 1 to ", kMaxNameBytes,
                                 " of a-z, 0-9, _ and -, and starts with a letter or digit"));
  }
  return absl::OkStatus();
}

absl::Status CheckCollection(const CollectionOptions& options, const Limits& limits) {
  absl::Status named = CheckName(options.name, "a collection");
  if (!named.ok()) return named;
  if (options.dimension < 1 || options.dimension > static_cast<int>(limits.max_dimension)) {
    return InvalidArgument("BAD_DIMENSION",
                           absl::StrCat("the dimension is ", options.dimension, "; 1 to ",
                                        limits.max_dimension, " are allowed"));
  }
  const IndexOptions& index = options.index;
  for (absl::Status status :
       {CheckRange("hnsw_m", index.hnsw_m, 4, 64),
        CheckRange("hnsw_ef_construction", index.hnsw_ef_construction, 8, 2000),
        CheckRange("hnsw_ef_search", index.hnsw_ef_search, 1, 10'000),
        CheckRange("ivf_nlist", index.ivf_nlist, 1, 65'536),
        CheckRange("ivf_nprobe", index.ivf_nprobe, 1,
                   index.ivf_nlist > 0 ? index.ivf_nlist : 65'536),
        CheckRange("target_recall", index.target_recall, 1e-6, 1)}) {
    if (!status.ok()) return status;
  }
  return CheckQuantisation(index, options.dimension);
}

int FittingPqSize(int pq_bytes, int dimension) {
  int fitting = 0;
  for (int size : PqSizes(dimension)) fitting = size <= pq_bytes ? size : fitting;
  return fitting;
}

}  // namespace imagesearch::index
