#include "server/handlers/label_vectors.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "server/grpc_status.h"

namespace imagesearch::server {
namespace {

constexpr char kDefaultTemplate[] = "a photo of a {}.";
constexpr int kMaxLabels = 1000;
constexpr int kMaxPrompts = 4096;
constexpr size_t kPromptsAtOnce = 256;  // of the encoder's queue

absl::Status CheckLabels(const google::protobuf::RepeatedPtrField<std::string>& labels,
                         const std::vector<std::string>& templates) {
  if (labels.empty() || labels.size() > kMaxLabels ||
      labels.size() * static_cast<int>(templates.size()) > kMaxPrompts) {
    return AtField(
        InvalidArgument(
            "BAD_LABELS",
            absl::StrCat(labels.size(), " labels and ", templates.size(), " templates given; 1 to ",
                         kMaxLabels, " labels are allowed, and labels times templates at most ",
                         kMaxPrompts)),
        "labels");
  }
  std::set<std::string> seen;
  for (int i = 0; i < labels.size(); ++i) {
    if (labels[i].empty() || !seen.insert(labels[i]).second) {
      return AtField(InvalidArgument("BAD_LABELS", labels[i].empty() ? "the label is empty"
                                                                     : "this label is there twice"),
                     absl::StrCat("labels[", i, "]"));
    }
  }
  for (size_t i = 0; i < templates.size(); ++i) {
    if (!absl::StrContains(templates[i], "{}")) {
      return AtField(InvalidArgument("BAD_TEMPLATE", "a template holds {} where the label goes"),
                     absl::StrCat("templates[", i, "]"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LabelVectors> EncodeLabels(
    const google::protobuf::RepeatedPtrField<std::string>& labels,
    const google::protobuf::RepeatedPtrField<std::string>& templates, encoder::Encoder& encoder,
    const encoder::EncodeOptions& options) {
  std::vector<std::string> forms(templates.begin(), templates.end());
  if (forms.empty()) forms = {kDefaultTemplate};
  absl::Status status = CheckLabels(labels, forms);
  if (!status.ok()) return status;
  LabelVectors result;
  result.labels.assign(labels.begin(), labels.end());
  result.logit_scale = encoder.model().logit_scale;
  std::vector<std::string> prompts;  // forms.size() for each label
  for (const std::string& label : labels) {
    for (const std::string& form : forms) {
      prompts.push_back(absl::StrReplaceAll(form, {{"{}", label}}));
    }
  }
  result.vectors.assign(labels.size(), std::vector<float>(encoder.model().dimension));
  for (size_t begin = 0; begin < prompts.size(); begin += kPromptsAtOnce) {
    std::vector<encoder::Input> inputs;
    const size_t end = std::min(prompts.size(), begin + kPromptsAtOnce);
    for (size_t i = begin; i < end; ++i) inputs.push_back(encoder::Input::Text(prompts[i]));
    auto embeddings = encoder.Encode(std::move(inputs), options);
    for (size_t i = begin; i < end; ++i) {
      auto& embedding = embeddings[i - begin];
      if (!embedding.ok()) {
        return AtField(embedding.status(), absl::StrCat("labels[", i / forms.size(), "]"));
      }
      result.truncated_text |= embedding->truncated_text;
      std::vector<float>& sum = result.vectors[i / forms.size()];
      for (size_t d = 0; d < sum.size(); ++d) sum[d] += embedding->values[d];
    }
  }
  for (size_t i = 0; i < result.vectors.size(); ++i) {
    double squares = 0;
    for (float x : result.vectors[i]) squares += double{x} * x;
    if (squares == 0) {
      return AtField(InvalidArgument("BAD_LABELS", "the prompts of this label cancel out"),
                     absl::StrCat("labels[", i, "]"));
    }
    for (float& x : result.vectors[i]) x = static_cast<float>(x / std::sqrt(squares));
  }
  return result;
}

std::vector<v1::LabelProbability> Rank(const LabelVectors& labels, absl::Span<const float> image,
                                       int top) {
  std::vector<double> scores;
  for (const std::vector<float>& vector : labels.vectors) {
    double dot = 0;
    for (size_t d = 0; d < vector.size(); ++d) dot += double{vector[d]} * image[d];
    scores.push_back(std::clamp(dot, -1.0, 1.0));
  }
  const double best = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double score : scores) sum += std::exp(labels.logit_scale * (score - best));
  std::vector<size_t> order(scores.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  order.resize(std::min<size_t>(order.size(), top));
  std::vector<v1::LabelProbability> ranked;
  for (size_t i : order) {
    v1::LabelProbability& label = ranked.emplace_back();
    label.set_label(labels.labels[i]);
    label.set_score(static_cast<float>(scores[i]));
    label.set_probability(
        static_cast<float>(std::exp(labels.logit_scale * (scores[i] - best)) / sum));
  }
  return ranked;
}

}  // namespace imagesearch::server
