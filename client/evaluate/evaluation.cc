// See evaluation.h.
#include "client/evaluate/evaluation.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "client/picture/prepare.h"
#include "client/status.h"
#include "client/uploader.h"

namespace imagesearch::client {
namespace {

constexpr int kTextsAtOnce = 64;
constexpr int kVectorsAtOnce = 100;
constexpr int kSearchesAtOnce = 50;
constexpr int kDeepest = 10;  // the deepest rank that counts

// Ids sort like places, so that equal scores are ordered by place.
std::string IdOf(size_t place) { return absl::StrFormat("%09d", place); }

absl::StatusOr<size_t> PlaceOf(const std::string& id) {
  uint64_t place = 0;
  if (!absl::SimpleAtoi(id, &place)) return absl::InternalError(absl::StrCat("unexpected id ", id));
  return static_cast<size_t>(place);
}

std::vector<float> Values(const v1::Vector& vector) {
  return {vector.values().begin(), vector.values().end()};
}

void Normalise(std::vector<float>* vector) {
  double sum = 0;
  for (float value : *vector) sum += double{value} * value;
  const double norm = std::sqrt(sum);
  for (float& value : *vector) value = static_cast<float>(value / norm);
}

// The first of `hits` that `right` accepts, or -1.
template <typename Right>
int RankOf(const std::vector<size_t>& hits, const Right& right) {
  for (size_t i = 0; i < hits.size(); ++i) {
    if (right(hits[i])) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

void RecallCounter::Add(int rank) {
  ++queries_;
  at1_ += rank == 0;
  at5_ += rank >= 0 && rank < 5;
  at10_ += rank >= 0 && rank < 10;
}

Recall RecallCounter::Result(std::string task, size_t gallery) const {
  const double unit = queries_ == 0 ? 0 : 100.0 / static_cast<double>(queries_);
  return {.task = std::move(task),
          .queries = queries_,
          .gallery = gallery,
          .at1 = unit * static_cast<double>(at1_),
          .at5 = unit * static_cast<double>(at5_),
          .at10 = unit * static_cast<double>(at10_)};
}

double Evaluation::texts_per_second() const {
  return text_seconds_ > 0 ? static_cast<double>(texts_encoded_) / text_seconds_ : 0;
}

absl::Status Evaluation::Store(std::vector<EvalImage> images) {
  auto info = client_->GetServerInfo();
  if (!info.ok()) return info.status();
  const PictureLimits limits = PictureLimits::Of(info->limits());
  auto collection = collections_.Make("images", 0);
  if (!collection.ok()) return collection.status();
  image_collection_ = *collection;

  std::vector<absl::Status> outcome(images.size());
  const absl::Time start = absl::Now();
  {
    UploaderOptions options;
    options.collection = image_collection_;
    Uploader uploader(client_, options,
                      [&](const Uploader::Outcome& done) { outcome[done.token] = done.status; });
    for (size_t i = 0; i < images.size(); ++i) {
      std::ifstream in(images[i].file, std::ios::binary);
      std::ostringstream bytes;
      bytes << in.rdbuf();
      if (!in || bytes.str().empty()) {
        outcome[i] = Error(absl::StatusCode::kInvalidArgument, "LOCAL_FILE",
                           absl::StrCat(images[i].file, ": can't be read"));
        continue;
      }
      auto prepared = PreparePicture(bytes.str(), limits);
      if (!prepared.ok()) {
        outcome[i] = prepared.status();
        continue;
      }
      v1::Image image;
      image.set_id(IdOf(i));
      image.set_content(std::move(prepared->bytes));
      if (absl::Status status = uploader.Add(i, std::move(image)); !status.ok()) return status;
    }
    if (absl::Status status = uploader.Finish(); !status.ok()) return status;
  }
  // Ids keep the places in the set; a picture that failed leaves a hole there.
  size_t good = 0;
  for (size_t i = 0; i < images.size(); ++i) {
    if (outcome[i].ok()) {
      ++good;
    } else {
      failures_.push_back({images[i].name, outcome[i]});
    }
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  images_per_second_ = static_cast<double>(good) / std::max(seconds, 1e-9);
  if (good == 0)
    return failures_.empty() ? absl::InvalidArgumentError("no pictures") : failures_[0].status;
  images_ = std::move(images);
  stored_.assign(images_.size(), false);
  for (size_t i = 0; i < images_.size(); ++i) stored_[i] = outcome[i].ok();
  stored_count_ = good;
  return absl::OkStatus();
}

absl::StatusOr<Evaluation::Vectors> Evaluation::EncodeTexts(const std::vector<std::string>& texts) {
  std::vector<std::string> fresh;
  for (const std::string& text : texts) {
    if (text_vectors_.try_emplace(text).second) fresh.push_back(text);
  }
  const absl::Time start = absl::Now();
  for (size_t at = 0; at < fresh.size(); at += kTextsAtOnce) {
    v1::EncodeRequest request;
    const size_t end = std::min(at + kTextsAtOnce, fresh.size());
    for (size_t i = at; i < end; ++i) request.add_inputs()->set_text(fresh[i]);
    auto response = client_->Encode(request);
    if (!response.ok()) return response.status();
    for (size_t i = at; i < end; ++i) {
      const v1::EncodeResult& result = response->results(static_cast<int>(i - at));
      if (absl::Status status = FromItem(result.status()); !status.ok()) return status;
      text_vectors_[fresh[i]] = Values(result.vector());
    }
  }
  text_seconds_ += absl::ToDoubleSeconds(absl::Now() - start);
  texts_encoded_ += fresh.size();
  Vectors vectors;
  for (const std::string& text : texts) vectors.push_back(text_vectors_[text]);
  return vectors;
}

absl::Status Evaluation::LoadImageVectors() {
  if (!image_vectors_.empty()) return absl::OkStatus();
  Vectors vectors(images_.size());
  std::vector<size_t> places;
  for (size_t i = 0; i < images_.size(); ++i) {
    if (stored_[i]) places.push_back(i);
  }
  for (size_t at = 0; at < places.size(); at += kVectorsAtOnce) {
    v1::GetRequest request;
    request.set_collection(image_collection_);
    const size_t end = std::min(at + kVectorsAtOnce, places.size());
    for (size_t i = at; i < end; ++i) request.add_ids(IdOf(places[i]));
    auto response = client_->Get(request);
    if (!response.ok()) return response.status();
    for (const v1::StoredImage& image : response->images()) {
      auto place = PlaceOf(image.id());
      if (!place.ok()) return place.status();
      vectors[*place] = Values(image.vector());
    }
  }
  image_vectors_ = std::move(vectors);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Evaluation::StoreVectors(absl::string_view kind,
                                                     const Vectors& vectors) {
  auto collection = collections_.Make(kind, static_cast<int>(vectors.front().size()));
  if (!collection.ok()) return collection.status();
  absl::Status failed;
  UploaderOptions options;
  options.collection = *collection;
  Uploader uploader(client_, options, [&](const Uploader::Outcome& outcome) {
    if (!outcome.status.ok()) failed = outcome.status;
  });
  for (size_t i = 0; i < vectors.size(); ++i) {
    v1::Image image;
    image.set_id(IdOf(i));
    image.mutable_vector()->mutable_values()->Assign(vectors[i].begin(), vectors[i].end());
    if (absl::Status status = uploader.Add(i, std::move(image)); !status.ok()) return status;
  }
  if (absl::Status status = uploader.Finish(); !status.ok()) return status;
  if (!failed.ok()) return failed;
  return *collection;
}

absl::StatusOr<std::vector<std::vector<size_t>>> Evaluation::Nearest(const std::string& collection,
                                                                     const Vectors& queries,
                                                                     int limit) {
  std::vector<std::vector<size_t>> nearest;
  for (size_t at = 0; at < queries.size(); at += kSearchesAtOnce) {
    v1::SearchBatchRequest request;
    const size_t end = std::min(at + kSearchesAtOnce, queries.size());
    for (size_t i = at; i < end; ++i) {
      v1::SearchRequest* search = request.add_requests();
      search->set_collection(collection);
      *search->mutable_query()->add_terms() = VectorTerm(queries[i]);
      search->set_limit(limit);
      search->set_exact(true);
    }
    auto response = client_->SearchBatch(request);
    if (!response.ok()) return response.status();
    for (const v1::SearchResult& result : response->results()) {
      if (absl::Status status = FromItem(result.status()); !status.ok()) return status;
      std::vector<size_t> hits;
      for (const v1::Hit& hit : result.response().hits()) {
        auto place = PlaceOf(hit.id());
        if (!place.ok()) return place.status();
        hits.push_back(*place);
      }
      nearest.push_back(std::move(hits));
    }
  }
  return nearest;
}

absl::StatusOr<Recall> Evaluation::TextToImage() {
  std::vector<std::string> texts;
  std::map<std::string, std::set<size_t>> owners;
  for (size_t i = 0; i < images_.size(); ++i) {
    if (!stored_[i]) continue;
    for (const std::string& caption : images_[i].captions) {
      texts.push_back(caption);
      owners[caption].insert(i);
    }
  }
  auto vectors = EncodeTexts(texts);
  if (!vectors.ok()) return vectors.status();
  auto nearest = Nearest(image_collection_, *vectors, kDeepest);
  if (!nearest.ok()) return nearest.status();
  RecallCounter counter;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::set<size_t>& right = owners[texts[i]];
    counter.Add(RankOf((*nearest)[i], [&](size_t place) { return right.count(place) > 0; }));
  }
  return counter.Result("text -> image", stored_count_);
}

absl::StatusOr<Recall> Evaluation::ImageToText() {
  std::vector<std::string> texts;
  std::map<std::string, size_t> place_of;
  for (size_t i = 0; i < images_.size(); ++i) {
    if (!stored_[i]) continue;
    for (const std::string& caption : images_[i].captions) {
      if (place_of.emplace(caption, texts.size()).second) texts.push_back(caption);
    }
  }
  auto vectors = EncodeTexts(texts);
  if (!vectors.ok()) return vectors.status();
  auto collection = StoreVectors("texts", *vectors);
  if (!collection.ok()) return collection.status();
  if (absl::Status status = LoadImageVectors(); !status.ok()) return status;

  Vectors queries;
  std::vector<std::set<size_t>> right;
  for (size_t i = 0; i < images_.size(); ++i) {
    if (!stored_[i] || images_[i].captions.empty()) continue;
    queries.push_back(image_vectors_[i]);
    right.emplace_back();
    for (const std::string& caption : images_[i].captions) right.back().insert(place_of[caption]);
  }
  auto nearest = Nearest(*collection, queries, kDeepest);
  if (!nearest.ok()) return nearest.status();
  RecallCounter counter;
  for (size_t i = 0; i < queries.size(); ++i) {
    counter.Add(RankOf((*nearest)[i], [&](size_t place) { return right[i].count(place) > 0; }));
  }
  return counter.Result("image -> text", texts.size());
}

absl::StatusOr<Recall> Evaluation::ImageToImage(const std::string& query_prefix) {
  if (absl::Status status = LoadImageVectors(); !status.ok()) return status;
  std::vector<size_t> asking;
  std::vector<size_t> gallery;
  std::map<std::string, size_t> group_size;
  for (size_t i = 0; i < images_.size(); ++i) {
    if (!stored_[i]) continue;
    const bool asks = query_prefix.empty() || absl::StartsWith(images_[i].name, query_prefix);
    if (asks) asking.push_back(i);
    if (!asks || query_prefix.empty()) gallery.push_back(i);
    if (!images_[i].group.empty() && (!asks || query_prefix.empty()))
      ++group_size[images_[i].group];
  }
  // Only pictures that have a right answer ask.
  const size_t needed = query_prefix.empty() ? 2 : 1;
  asking.erase(std::remove_if(asking.begin(), asking.end(),
                              [&](size_t i) {
                                const auto it = group_size.find(images_[i].group);
                                return it == group_size.end() || it->second < needed;
                              }),
               asking.end());
  if (asking.empty()) return InvalidArgument("BAD_EVALUATION_SET", "no two pictures of one group");

  Vectors queries;
  for (size_t i : asking) queries.push_back(image_vectors_[i]);
  std::string collection = image_collection_;
  if (!query_prefix.empty()) {
    Vectors members;
    for (size_t i : gallery) members.push_back(image_vectors_[i]);
    auto made = StoreVectors("gallery", members);
    if (!made.ok()) return made.status();
    collection = *made;
  }
  // One more hit, since each picture finds itself where it is part of the gallery.
  auto nearest = Nearest(collection, queries, kDeepest + 1);
  if (!nearest.ok()) return nearest.status();
  RecallCounter counter;
  for (size_t q = 0; q < asking.size(); ++q) {
    std::vector<size_t> hits;
    for (size_t place : (*nearest)[q]) {
      const size_t i = query_prefix.empty() ? place : gallery[place];
      if (i != asking[q] && hits.size() < kDeepest) hits.push_back(i);
    }
    counter.Add(
        RankOf(hits, [&](size_t i) { return images_[i].group == images_[asking[q]].group; }));
  }
  return counter.Result("image -> image",
                        query_prefix.empty() ? gallery.size() - 1 : gallery.size());
}

absl::StatusOr<Recall> Evaluation::Queries(const std::vector<EvalQuery>& queries) {
  std::map<std::string, size_t> place_of;
  for (size_t i = 0; i < images_.size(); ++i) {
    if (stored_[i]) place_of[images_[i].name] = i;
  }
  std::vector<std::string> texts;
  std::vector<std::set<size_t>> right;
  for (const EvalQuery& query : queries) {
    std::set<size_t> places;
    for (const std::string& name : query.relevant) {
      const auto it = place_of.find(name);
      if (it != place_of.end()) places.insert(it->second);
    }
    if (places.empty()) continue;
    texts.push_back(query.text);
    right.push_back(std::move(places));
  }
  if (texts.empty()) {
    return InvalidArgument("BAD_EVALUATION_SET", "no query names a picture of the set");
  }
  auto vectors = EncodeTexts(texts);
  if (!vectors.ok()) return vectors.status();
  auto nearest = Nearest(image_collection_, *vectors, kDeepest);
  if (!nearest.ok()) return nearest.status();
  RecallCounter counter;
  for (size_t i = 0; i < texts.size(); ++i) {
    counter.Add(RankOf((*nearest)[i], [&](size_t place) { return right[i].count(place) > 0; }));
  }
  return counter.Result("queries -> image", stored_count_);
}

absl::StatusOr<Recall> Evaluation::ZeroShot(const std::vector<std::string>& classes,
                                            const std::vector<std::string>& templates) {
  Vectors means;
  for (const std::string& name : classes) {
    std::vector<std::string> prompts;
    for (const std::string& text : templates) {
      prompts.push_back(absl::StrReplaceAll(text, {{"{}", name}}));
    }
    auto vectors = EncodeTexts(prompts);
    if (!vectors.ok()) return vectors.status();
    std::vector<float> mean(vectors->front().size(), 0);
    for (const std::vector<float>& vector : *vectors) {
      for (size_t d = 0; d < mean.size(); ++d) mean[d] += vector[d];
    }
    Normalise(&mean);
    means.push_back(std::move(mean));
  }
  auto collection = StoreVectors("classes", means);
  if (!collection.ok()) return collection.status();
  if (absl::Status status = LoadImageVectors(); !status.ok()) return status;
  Vectors queries;
  std::vector<size_t> asking;
  for (size_t i = 0; i < images_.size(); ++i) {
    if (!stored_[i]) continue;
    asking.push_back(i);
    queries.push_back(image_vectors_[i]);
  }
  auto nearest = Nearest(*collection, queries, kDeepest);
  if (!nearest.ok()) return nearest.status();
  RecallCounter counter;
  for (size_t q = 0; q < asking.size(); ++q) {
    counter.Add(RankOf((*nearest)[q],
                       [&](size_t place) { return classes[place] == images_[asking[q]].group; }));
  }
  return counter.Result("zero-shot class", classes.size());
}

}  // namespace imagesearch::client
