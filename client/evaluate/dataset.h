// Labelled pictures to measure a model with: captions, groups, tag queries, class folders.
#ifndef IMAGESEARCH_CLIENT_EVALUATE_DATASET_H_
#define IMAGESEARCH_CLIENT_EVALUATE_DATASET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace imagesearch::client {

struct EvalImage {
  std::string name;  // as the set writes it
  std::string file;  // to read
  std::vector<std::string> captions;
  std::string group;  // pictures of one group are right answers for each other; empty: none
};

// A text and the names of all pictures that answer it.
struct EvalQuery {
  std::string text;
  std::vector<std::string> relevant;
};

// JSON Lines {"image": "a.png", "captions": ["..."], "group": "..."}; captions and group may be
// missing. Paths are below `image_folder`, or below the file's own folder when that is empty.
absl::StatusOr<std::vector<EvalImage>> ReadLinesSet(const std::string& path,
                                                    const std::string& image_folder);

// COCO captions: either Karpathy's split file ({"images": [{"filepath", "filename", "split",
// "sentences": [{"raw"}]}]}), of which `split` is taken ("restval" counts as "train"), or COCO's
// own ({"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}), taken whole.
absl::StatusOr<std::vector<EvalImage>> ReadCocoSet(const std::string& path,
                                                   const std::string& image_folder,
                                                   const std::string& split);

// JSON Lines {"query": "...", "relevant": ["a.png", ...]}.
absl::StatusOr<std::vector<EvalQuery>> ReadQueries(const std::string& path);

struct LabelledFolders {
  std::vector<std::string> classes;  // names in the order of the folders' names
  std::vector<EvalImage> images;     // `group` holds the class name
};

// One folder for each class, as ImageNet's validation set. `label_file` (JSON Lines {"folder",
// "name"}, or lines "FOLDER NAME...") names the classes; without it the folder's name with _ read
// as a space.
absl::StatusOr<LabelledFolders> ReadFolders(const std::string& folder,
                                            const std::string& label_file);

// One template a line, each with {} where the class goes.
absl::StatusOr<std::vector<std::string>> ReadTemplates(const std::string& path);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_EVALUATE_DATASET_H_
