// Re-embedding as an operation: every image of a collection is encoded anew by another model, in
// the background, while the collection serves; then the new vectors take its name at once.
#ifndef IMAGESEARCH_SERVER_OPERATIONS_REEMBED_H_
#define IMAGESEARCH_SERVER_OPERATIONS_REEMBED_H_

#include <string>

#include "server/operations/operations.h"
#include "server/server_state.h"

namespace imagesearch::server {

// The work. It goes through the collection once, then after what was written meanwhile, holds
// writers for the last few, and cuts over. Pictures are kept originals, or
// files below facts.source_dir (see PictureSource).
// Cancelled, it drops what it made; it pauses by itself, and says why, when images have no picture
// (unless they are to be left out) or the model isn't loaded. `backend` must outlive it.
Operations::Body MakeReembed(const Backend& backend, const ServerFacts& facts, const Limits& limits,
                             const std::string& collection, const ReembedSpec& spec);

// Operations::Restore for everything that can go on after a restart.
void RestoreOperations(const Backend& backend, const ServerFacts& facts, const Limits& limits);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_OPERATIONS_REEMBED_H_
