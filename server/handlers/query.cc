// Gathers the terms of all queries, encodes them together, and sums.
#include "server/handlers/query.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/model_inputs.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

constexpr float kMaxWeight = 100;
constexpr float kCropRounding = 1e-5f;

float WeightOf(const v1::Term& term) { return term.has_weight() ? term.weight() : 1.0f; }

// INVALID_ARGUMENT BAD_CROP_BOX.
absl::StatusOr<encoder::CropBox> ToCropBox(const v1::CropBox& crop) {
  const float right = crop.x() + crop.width(), bottom = crop.y() + crop.height();
  // Written so that NaN fails.
  if (!(crop.x() >= 0 && crop.y() >= 0 && right > crop.x() && bottom > crop.y() &&
        right <= 1 + kCropRounding && bottom <= 1 + kCropRounding && crop.x() < 1 &&
        crop.y() < 1)) {
    return InvalidArgument(
        "BAD_CROP_BOX",
        absl::StrCat("the crop box is x ", crop.x(), ", y ", crop.y(), ", width ", crop.width(),
                     ", height ", crop.height(),
                     "; x and y start at 0, width and height are above ",
                     "0, x + width and y + height at most 1: fractions of the upright picture"));
  }
  return encoder::CropBox{crop.x(), crop.y(), std::min(right, 1.0f), std::min(bottom, 1.0f)};
}

// Everything that can be said of a term without encoding it or reading the collection.
absl::Status CheckTerm(const v1::Term& term, const Target& target, const Limits& limits) {
  const float weight = WeightOf(term);
  if (!std::isfinite(weight) || weight == 0 || std::fabs(weight) > kMaxWeight) {
    return InvalidArgument(
        "BAD_WEIGHT", absl::StrCat("the weight must be finite, not 0, and at most ", kMaxWeight,
                                   " in magnitude"));
  }
  if (term.has_crop()) {
    if (!term.has_image()) {
      return InvalidArgument("BAD_CROP_BOX", "only a term with an image takes a crop box");
    }
    absl::Status status = ToCropBox(term.crop()).status();
    if (!status.ok()) return status;
  }
  switch (term.input_case()) {
    case v1::Term::kText:
    case v1::Term::kImage:
      return target.encodes;
    case v1::Term::kId:
      return CheckId(term.id(), limits);
    case v1::Term::kVector:
      return CheckVector(term.vector().values(), target.collection->options().dimension);
    case v1::Term::INPUT_NOT_SET:
      break;
  }
  return InvalidArgument("BAD_TERM", "the term has neither text, image, id nor vector");
}

absl::Status CheckTerms(const v1::Query& query, const Target& target, const Limits& limits) {
  if (query.terms().empty()) return InvalidArgument("EMPTY_QUERY", "the query has no terms");
  if (query.terms_size() > static_cast<int>(limits.max_query_terms)) {
    return InvalidArgument("TOO_MANY_TERMS",
                           absl::StrCat("the query has ", query.terms_size(),
                                        " terms, the limit is ", limits.max_query_terms));
  }
  for (int i = 0; i < query.terms_size(); ++i) {
    absl::Status status = CheckTerm(query.terms(i), target, limits);
    if (!status.ok()) return AtField(status, absl::StrCat("query.terms[", i, "]"));
  }
  return absl::OkStatus();
}

index::QueryKind KindOf(const v1::Query& query) {
  bool text = false, other = false;
  for (const v1::Term& term : query.terms()) {
    (term.input_case() == v1::Term::kText ? text : other) = true;
  }
  if (text && other) return index::QueryKind::kMixed;
  return text ? index::QueryKind::kText : index::QueryKind::kImage;
}

// Adds weight * vector / |vector|; false when the vector has no direction.
bool AddUnit(absl::Span<const float> vector, float weight, std::vector<double>& sum) {
  double norm = 0;
  for (float value : vector) norm += double{value} * value;
  if (norm == 0 || vector.size() != sum.size()) return false;
  const double scale = weight / std::sqrt(norm);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += scale * vector[i];
  return true;
}

// The vectors of the id terms of `query`, in order of the terms.
absl::StatusOr<std::vector<std::vector<float>>> VectorsOfIds(const v1::Query& query,
                                                             const Target& target) {
  std::vector<std::string> ids;
  std::vector<int> terms;
  for (int i = 0; i < query.terms_size(); ++i) {
    if (query.terms(i).input_case() != v1::Term::kId) continue;
    ids.push_back(query.terms(i).id());
    terms.push_back(i);
  }
  std::vector<std::vector<float>> vectors;
  if (ids.empty()) return vectors;
  auto records = target.collection->Get(ids, /*with_vector=*/true);
  if (!records.ok()) return records.status();
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!(*records)[i]) {
      return AtField(Error(absl::StatusCode::kNotFound, "NOT_FOUND",
                           absl::StrCat("the collection has no image of this id")),
                     absl::StrCat("query.terms[", terms[i], "]"));
    }
    vectors.push_back(std::move((*records)[i]->vector));
  }
  return vectors;
}

// `embeddings` are those of the text and image terms, in order of the terms.
absl::StatusOr<QueryVector> Sum(const v1::Query& query, const Target& target,
                                absl::Span<const absl::StatusOr<encoder::Embedding>> embeddings) {
  auto id_vectors = VectorsOfIds(query, target);
  if (!id_vectors.ok()) return id_vectors.status();
  QueryVector result;
  result.kind = KindOf(query);
  std::vector<double> sum(target.collection->options().dimension);
  size_t next_embedding = 0, next_id = 0;
  double total_weight = 0;
  for (int i = 0; i < query.terms_size(); ++i) {
    const v1::Term& term = query.terms(i);
    absl::Span<const float> vector;
    if (term.input_case() == v1::Term::kVector) {
      vector = term.vector().values();
    } else if (term.input_case() == v1::Term::kId) {
      vector = (*id_vectors)[next_id++];
    } else {
      const absl::StatusOr<encoder::Embedding>& embedding = embeddings[next_embedding++];
      if (!embedding.ok()) {
        return AtField(embedding.status(), absl::StrCat("query.terms[", i, "]"));
      }
      result.truncated_text |= embedding->truncated_text;
      vector = embedding->values;
    }
    if (!AddUnit(vector, WeightOf(term), sum)) {
      return absl::InternalError(absl::StrCat("term ", i, " gave a vector without a direction"));
    }
    total_weight += std::fabs(WeightOf(term));
  }
  double norm = 0;
  for (double value : sum) norm += value * value;
  norm = std::sqrt(norm);
  // Below float32's rounding of the summands nothing but noise is left.
  if (!(norm > 1e-6 * total_weight)) {
    return InvalidArgument("ZERO_NORM", "the terms of the query cancel out");
  }
  result.values.reserve(sum.size());
  for (double value : sum) result.values.push_back(static_cast<float>(value / norm));
  return result;
}

}  // namespace

std::vector<absl::StatusOr<QueryVector>> ResolveQueries(absl::Span<const QueryToResolve> queries,
                                                        CallContext& call, const Limits& limits) {
  std::vector<absl::StatusOr<QueryVector>> results(queries.size(), QueryVector());
  ModelInputs inputs;
  std::vector<std::pair<size_t, size_t>> ranges(queries.size());  // of the embeddings
  for (size_t i = 0; i < queries.size(); ++i) {
    absl::Status status = CheckTerms(*queries[i].query, *queries[i].target, limits);
    if (!status.ok()) {
      results[i] = std::move(status);
      continue;
    }
    ranges[i].first = inputs.size();
    for (v1::Term& term : *queries[i].query->mutable_terms()) {
      if (term.input_case() == v1::Term::kText) {
        inputs.Add(queries[i].target->encoder,
                   encoder::Input::Text(std::move(*term.mutable_text())));
      } else if (term.input_case() == v1::Term::kImage) {
        encoder::Input image = encoder::Input::Image(std::move(*term.mutable_image()));
        if (term.has_crop()) image.crop = *ToCropBox(term.crop());
        inputs.Add(queries[i].target->encoder, std::move(image));
      }
    }
    ranges[i].second = inputs.size();
  }
  std::vector<absl::StatusOr<encoder::Embedding>> embeddings;
  if (inputs.size() > 0) {
    StageTimer timer(call, "encode");
    embeddings = inputs.Encode(call.EncodeOptions(encoder::Priority::kInteractive));
  }
  for (size_t i = 0; i < queries.size(); ++i) {
    if (!results[i].ok()) continue;
    const auto [begin, end] = ranges[i];
    results[i] = Sum(*queries[i].query, *queries[i].target,
                     absl::MakeConstSpan(embeddings).subspan(begin, end - begin));
  }
  return results;
}

}  // namespace imagesearch::server
