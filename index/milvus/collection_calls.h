// Calls about one collection that need nothing but its name.
#ifndef IMAGESEARCH_INDEX_MILVUS_COLLECTION_CALLS_H_
#define IMAGESEARCH_INDEX_MILVUS_COLLECTION_CALLS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "index/milvus/milvus_collection.h"
#include "index/milvus/session.h"

namespace imagesearch::index {

// Rows for which `expression` is true, at session.version() or later.
absl::StatusOr<uint64_t> CountRows(Session& session, const std::string& collection,
                                   const std::string& expression);

// Seals all rows and waits for the index over them, until the call's deadline.
absl::Status FlushAndBuild(Session& session, const std::string& collection);

template <typename Request, typename Response>
absl::Status MilvusCollection::Call(absl::string_view what,
                                    grpc::Status (Session::Stub::*method)(grpc::ClientContext*,
                                                                          const Request&,
                                                                          Response*),
                                    const Request& request, Response* response) const {
  return Explain(session_->Call(what, method, request, response));
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_MILVUS_COLLECTION_CALLS_H_
