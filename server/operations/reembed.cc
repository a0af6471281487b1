// Copies, catches up, cuts over.
#include "server/operations/reembed.h"

#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "index/reembedding.h"
#include "server/operations/picture_source.h"

namespace imagesearch::server {
namespace {

constexpr int kPageSize = 256;
// What is encoded together, at most: images, and bytes of pictures.
constexpr size_t kBatchImages = 32;
constexpr uint64_t kBatchBytes = 16 << 20;
// With so few changes left, writers are held for the rest.
constexpr size_t kFewChanges = 64;
constexpr absl::Duration kLongestHold = absl::Seconds(10);
// Ids that are remembered as missing; with more, a resumed operation looks at all images again.
constexpr size_t kMaxMissing = 100'000;

class Reembedder {
 public:
  Reembedder(index::Database* database, Models* models, PictureSource pictures,
             std::string collection, ReembedSpec spec, OperationRun* run)
      : database_(*database),
        models_(*models),
        pictures_(std::move(pictures)),
        collection_(std::move(collection)),
        spec_(std::move(spec)),
        run_(*run) {}

  absl::Status Run() {
    absl::Status status = Work();
    reembedding_.reset();
    // Somebody cancelled it; a server that stops goes on later.
    if (absl::IsCancelled(status) && !run_.interrupted()) {
      absl::Status dropped = database_.AbandonReembed(collection_);
      if (!dropped.ok()) return dropped;
    }
    return status;
  }

 private:
  absl::Status Work() {
    absl::Status status = AwaitModel();
    if (!status.ok()) return status;
    const encoder::ModelInfo& info = model_->info();
    auto begun = database_.BeginReembed(collection_, {info.dimension, info.id, info.fingerprint});
    if (!begun.ok()) return begun.status();
    reembedding_ = *std::move(begun);
    bool all = true;  // has to be looked at
    while (true) {
      status = all ? CopyAll() : absl::OkStatus();
      if (!status.ok()) return status;
      auto changed = reembedding_->TakeChanged();
      all = !changed.has_value();
      if (all) continue;
      status = Copy(*changed);
      if (!status.ok()) return status;
      if (changed->size() > kFewChanges) continue;
      if (missing_count() > 0 && !spec_.leave_out_missing()) {
        status = run_.PauseSelf(MissingText());
        all = too_many_missing_;
        const std::vector<std::string> again(missing_.begin(), missing_.end());
        if (status.ok()) status = Copy(again);
        if (!status.ok()) return status;
        continue;
      }
      const absl::StatusOr<bool> done = CutOver(&all);
      if (!done.ok()) return done.status();
      if (*done) return absl::OkStatus();
    }
  }

  absl::Status AwaitModel() {
    while (true) {
      model_ = models_.ByFingerprint(spec_.model_fingerprint());
      if (model_ != nullptr) return run_.Continue();
      absl::Status status = run_.PauseSelf(
          absl::StrCat("model ", spec_.model_id(), " is not loaded: load it, then resume"));
      if (!status.ok()) return status;
    }
  }

  // With writers held: the last changes, then the switch. False: it took too long, or too much
  // changed (`*all`); writers go on, and it is to be tried again.
  absl::StatusOr<bool> CutOver(bool* all) {
    const absl::Time until = SteadyNow() + kLongestHold;
    reembedding_->HoldWrites(until);
    absl::StatusOr<bool> done = false;
    while (SteadyNow() < until) {
      auto changed = reembedding_->TakeChanged();
      *all = !changed.has_value();
      if (*all) break;
      absl::Status status = Copy(*changed);
      // An image without a picture came in: that is to be told first.
      if (status.ok() && missing_count() > 0 && !spec_.leave_out_missing()) break;
      if (status.ok()) {
        auto version = reembedding_->CutOver();
        if (version.ok()) {
          run_.Describe(absl::StrCat(
              "cut over to ", model_->info().id, " at version ", *version,
              missing_count() > 0 ? absl::StrCat("; left out ", missing_count(), " images") : ""));
          return true;
        }
        if (absl::IsAborted(version.status())) continue;
        status = version.status();
      }
      done = status;
      break;
    }
    reembedding_->ReleaseWrites();
    return done;
  }

  absl::Status CopyAll() {
    missing_.clear();
    too_many_missing_ = false;
    // What an earlier attempt made and the source has no more.
    absl::Status status = ForEachPage(reembedding_->target(),
                                      [this](const auto& ids) { return DropWithoutSource(ids); });
    if (!status.ok()) return status;
    return ForEachPage(reembedding_->source(), [this](const auto& ids) { return Copy(ids); });
  }

  template <typename Visit>
  absl::Status ForEachPage(index::Collection& collection, const Visit& visit) {
    index::ListOptions list;
    list.page_size = kPageSize;
    list.with_vector = false;
    do {
      auto page = collection.List(list);
      if (!page.ok()) return page.status();
      std::vector<std::string> ids;
      for (const index::Record& record : page->records) ids.push_back(record.id);
      absl::Status status = visit(ids);
      if (!status.ok()) return status;
      list.page_token = page->next_page_token;
    } while (!list.page_token.empty());
    return absl::OkStatus();
  }

  absl::Status DropWithoutSource(const std::vector<std::string>& ids) {
    auto sources = reembedding_->source().Get(ids, /*with_vector=*/false);
    if (!sources.ok()) return sources.status();
    std::vector<std::string> gone;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!(*sources)[i]) gone.push_back(ids[i]);
    }
    return gone.empty() ? absl::OkStatus() : reembedding_->target().Delete(gone).status();
  }

  // Brings the target up to the source for these images.
  absl::Status Copy(const std::vector<std::string>& ids) {
    for (size_t begin = 0; begin < ids.size(); begin += kPageSize) {
      absl::Status status = run_.Continue();
      if (status.ok()) {
        status =
            CopyPage({ids.begin() + begin, ids.begin() + std::min(begin + kPageSize, ids.size())});
      }
      if (!status.ok()) return status;
      run_.Report(reembedding_->target().Info().image_count,
                  reembedding_->source().Info().image_count);
    }
    return absl::OkStatus();
  }

  absl::Status CopyPage(const std::vector<std::string>& ids) {
    auto sources = reembedding_->source().Get(ids, /*with_vector=*/false);
    if (!sources.ok()) return sources.status();
    auto targets = reembedding_->target().Get(ids, /*with_vector=*/false);
    if (!targets.ok()) return targets.status();
    std::vector<std::string> gone;
    for (size_t i = 0; i < ids.size(); ++i) {
      missing_.erase(ids[i]);
      const std::optional<index::Record>& source = (*sources)[i];
      const std::optional<index::Record>& target = (*targets)[i];
      absl::Status status;
      if (!source) {
        if (target) gone.push_back(ids[i]);
      } else if (target && target->source_version == source->version) {
        continue;
      } else if (target && !source->content_hash.empty() &&
                 target->content_hash == source->content_hash) {
        status = CopyMetadata(*source);
      } else {
        status = CopyPicture(ids[i], target.has_value());
      }
      if (!status.ok()) return status;
    }
    absl::Status status = Flush();
    if (!status.ok() || gone.empty()) return status;
    return reembedding_->target().Delete(gone).status();
  }

  static index::UpsertItem ItemOf(const index::Record& record) {
    index::UpsertItem item;
    item.id = record.id;
    item.metadata = record.metadata;
    item.expire_time = record.expire_time;
    item.content_hash = record.content_hash;
    item.source_uri = record.source_uri;
    item.source_version = record.version;
    return item;
  }

  absl::Status CopyMetadata(const index::Record& record) {
    std::vector<index::UpsertItem> items;
    items.push_back(ItemOf(record));
    return Write(std::move(items));
  }

  // Reads one picture; encodes what was gathered when that is enough.
  absl::Status CopyPicture(const std::string& id, bool has_target) {
    auto picture = pictures_.Read(reembedding_->source(), id);
    if (!picture.ok()) return picture.status();
    if (!*picture) return absl::OkStatus();  // gone since: it stands among the changes
    if ((*picture)->bytes.empty()) {
      AddMissing(id);
      // An older picture's vector would be wrong.
      if (has_target) return reembedding_->target().Delete({&id, 1}).status();
      return absl::OkStatus();
    }
    index::UpsertItem item = ItemOf((*picture)->record);
    if ((*picture)->is_kept) item.original = (*picture)->bytes;
    batch_bytes_ += (*picture)->bytes.size();
    inputs_.push_back(encoder::Input::Image(std::move((*picture)->bytes)));
    items_.push_back(std::move(item));
    return items_.size() >= kBatchImages || batch_bytes_ >= kBatchBytes ? Flush()
                                                                        : absl::OkStatus();
  }

  absl::Status Flush() {
    if (items_.empty()) return absl::OkStatus();
    encoder::EncodeOptions options;
    options.priority = encoder::Priority::kBulk;
    options.cancelled = run_.cancelled();
    options.wait_for_room = true;
    auto embeddings = model_->encoder->Encode(std::exchange(inputs_, {}), options);
    std::vector<index::UpsertItem> items = std::exchange(items_, {});
    batch_bytes_ = 0;
    std::vector<index::UpsertItem> encoded;
    for (size_t i = 0; i < items.size(); ++i) {
      if (absl::IsInvalidArgument(embeddings[i].status())) {
        AddMissing(items[i].id);  // a picture that today's limits or decoders refuse
        continue;
      }
      if (!embeddings[i].ok()) return embeddings[i].status();
      items[i].vector = std::move(embeddings[i]->values);
      items[i].perceptual_hash = embeddings[i]->perceptual_hash;
      encoded.push_back(std::move(items[i]));
    }
    return Write(std::move(encoded));
  }

  absl::Status Write(std::vector<index::UpsertItem> items) {
    if (items.empty()) return absl::OkStatus();
    auto written = reembedding_->target().Upsert(std::move(items), {});
    if (!written.ok()) return written.status();
    for (const index::UpsertItemResult& item : written->items) {
      if (!item.status.ok()) return item.status;
    }
    return absl::OkStatus();
  }

  void AddMissing(const std::string& id) {
    too_many_missing_ |= missing_.size() >= kMaxMissing;
    if (!too_many_missing_) missing_.insert(id);
  }
  size_t missing_count() const { return missing_.size(); }

  std::string MissingText() const {
    std::string text = absl::StrCat(
        too_many_missing_ ? "more than " : "", missing_.size(),
        " images have neither a kept original nor a file, or one that can't be decoded:");
    int shown = 0;
    for (const std::string& id : missing_) {
      if (++shown > 10) break;
      absl::StrAppend(&text, " ", id);
    }
    return absl::StrCat(text, missing_.size() > 10 ? " ..." : "",
                        ". Upload or delete them and resume, or start anew and leave them out");
  }

  index::Database& database_;
  Models& models_;
  const PictureSource pictures_;
  const std::string collection_;
  const ReembedSpec spec_;
  OperationRun& run_;
  Models::ModelPtr model_;
  std::unique_ptr<index::Reembedding> reembedding_;
  // Gathered for one batch of the encoder: inputs_[i] becomes the vector of items_[i].
  std::vector<encoder::Input> inputs_;
  std::vector<index::UpsertItem> items_;
  uint64_t batch_bytes_ = 0;
  std::set<std::string> missing_;
  bool too_many_missing_ = false;
};

}  // namespace

Operations::Body MakeReembed(const Backend& backend, const ServerFacts& facts, const Limits& limits,
                             const std::string& collection, const ReembedSpec& spec) {
  const PictureSource pictures(facts.source_dir, limits.image.max_bytes);
  // Raw pointers: operations end before the backend does.
  return [database = backend.database.get(), models = backend.models.get(), pictures, collection,
          spec](OperationRun& run) {
    return Reembedder(database, models, pictures, collection, spec, &run).Run();
  };
}

void RestoreOperations(const Backend& backend, const ServerFacts& facts, const Limits& limits) {
  backend.operations->Restore(
      [&](const Operations::Spec& spec) -> absl::StatusOr<Operations::Body> {
        ReembedSpec reembed;
        if (spec.kind != v1::Operation::REEMBED || !reembed.ParseFromString(spec.resume)) {
          return absl::InternalError("an operation of this kind can't go on");
        }
        return MakeReembed(backend, facts, limits, spec.collection, reembed);
      });
}

}  // namespace imagesearch::server
