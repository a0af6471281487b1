// See index_job.h. The caller's thread walks the sources; `readers` threads read, hash and prepare;
// the uploader sends and calls back. Memory is bounded by the queue and the uploader's window.
#include "client/bulk/index_job.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "client/bulk/content_hash.h"
#include "client/picture/exif.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace imagesearch::client {
namespace {

constexpr uint64_t kLargestFile = 1u << 30;
constexpr size_t kQueueItems = 256;
constexpr size_t kQueueBytes = 64u << 20;
constexpr int kIdsAtOnce = 200;  // with 16 KiB of metadata each, a reply stays below 4 MiB
constexpr uint64_t kEnoughForARate = 50;

absl::StatusOr<std::string> ReadPictureFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const auto fail = [&](absl::string_view what) {
    return Error(absl::StatusCode::kInvalidArgument, "LOCAL_FILE", absl::StrCat(path, ": ", what));
  };
  if (!in) return fail("can't be opened");
  const std::streamoff size = in.tellg();
  if (size < 0) return fail("can't be read");
  if (static_cast<uint64_t>(size) > kLargestFile) return fail("is larger than 1 GiB");
  std::string bytes(static_cast<size_t>(size), '\0');
  in.seekg(0);
  in.read(bytes.data(), size);
  if (in.gcount() != size) return fail("can't be read to its end");
  return bytes;
}

std::string DeterministicBytes(const google::protobuf::Struct& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream out(&stream);
  out.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&out);
  out.Trim();
  return bytes;
}

bool IsBelow(const std::string& path, const std::vector<std::string>& roots) {
  return std::any_of(roots.begin(), roots.end(), [&](const std::string& root) {
    return path == root || root == "/" || absl::StartsWith(path, absl::StrCat(root, "/"));
  });
}

}  // namespace

IndexJob::IndexJob(const Client* client, IndexOptions options, OnFailure on_failure,
                   OnShrunk on_shrunk)
    : client_(client),
      options_(std::move(options)),
      on_failure_(std::move(on_failure)),
      on_shrunk_(std::move(on_shrunk)),
      queue_(kQueueItems, kQueueBytes) {}

IndexCounts IndexJob::counts() const {
  MutexLock lock(&mutex_);
  return counts_;
}

absl::StatusOr<IndexSummary> IndexJob::Run(const std::vector<std::unique_ptr<Source>>& sources) {
  const absl::Time start = absl::Now();
  if (absl::Status status = OpenJournal(); !status.ok()) return status;
  if (!options_.dry_run) {
    UploaderOptions uploader = options_.uploader;
    uploader.collection = options_.collection;
    uploader_ = std::make_unique<Uploader>(
        client_, uploader, [this](const Uploader::Outcome& outcome) { OnAck(outcome); });
  }

  std::vector<std::thread> readers;
  for (int i = 0; i < std::max(1, options_.readers); ++i) {
    readers.emplace_back([this] { ReadLoop(); });
  }
  IndexSummary summary;
  std::vector<std::string> roots;
  for (const auto& source : sources) {
    WalkReport report = source->Walk([this](SourceItem item) {
      Take(std::move(item));
      return !stopped();
    });
    summary.other_files += report.other_files;
    for (absl::Status& status : report.unreadable) summary.unreadable.push_back(std::move(status));
    for (std::string& root : source->roots()) roots.push_back(std::move(root));
    if (stopped()) break;
  }
  queue_.Close();
  for (std::thread& reader : readers) reader.join();
  if (uploader_ != nullptr) {
    // A refusal of the whole job has reached every image as its failure.
    if (absl::Status status = uploader_->Finish(); !status.ok()) Stop(status);
    summary.connections = uploader_->connections();
  }

  if (options_.sync && !options_.dry_run) {
    summary.sync_left_out = stopped() || !summary.unreadable.empty();
    if (!summary.sync_left_out) {
      if (absl::Status status = DeleteWhatIsGone(roots, &summary.deleted); !status.ok()) {
        Stop(status);
      }
    }
  }
  MutexLock lock(&mutex_);
  summary.counts = counts_;
  summary.stopped = stop_;
  summary.version = version_;
  summary.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return summary;
}

absl::Status IndexJob::OpenJournal() {
  auto info = client_->GetServerInfo();
  if (!info.ok()) return info.status();
  limits_ = PictureLimits::Of(info->limits());
  v1::GetCollectionRequest request;
  request.set_collection(options_.collection);
  auto collection = client_->GetCollection(request);
  if (!collection.ok()) return collection.status();
  if (options_.journal_folder.empty()) return absl::OkStatus();
  auto journal = Journal::Open(options_.journal_folder, info->instance_id(), options_.collection);
  if (!journal.ok()) return journal.status();
  journal_ = *std::move(journal);
  return CheckJournal();
}

absl::Status IndexJob::CheckJournal() {
  std::vector<std::string> paths;
  for (const auto& [path, entry] : journal_->entries()) paths.push_back(path);
  for (size_t start = 0; start < paths.size(); start += kIdsAtOnce) {
    const size_t end = std::min(start + kIdsAtOnce, paths.size());
    v1::GetRequest request;
    request.set_collection(options_.collection);
    request.set_without_vector(true);
    for (size_t i = start; i < end; ++i) request.add_ids(journal_->entries().at(paths[i]).id);
    auto response = client_->Get(request);
    if (!response.ok()) return response.status();
    std::unordered_map<std::string, std::string> stored;
    for (const v1::StoredImage& image : response->images()) {
      stored[image.id()] = image.content_hash();
    }
    for (size_t i = start; i < end; ++i) {
      const JournalEntry& entry = journal_->entries().at(paths[i]);
      const auto it = stored.find(entry.id);
      if (it == stored.end() || it->second != entry.sent_hash) journal_->Forget(paths[i]);
    }
  }
  for (const auto& [path, entry] : journal_->entries()) journal_path_of_id_[entry.id] = path;
  return absl::OkStatus();
}

const google::protobuf::Struct* IndexJob::SideMetadata(const std::string& path) const {
  auto it = options_.side_metadata.find(path);
  if (it == options_.side_metadata.end()) {
    it = options_.side_metadata.find(std::filesystem::path(path).filename().string());
  }
  return it == options_.side_metadata.end() ? nullptr : &it->second;
}

std::string IndexJob::MetadataHash(const SourceItem& item) const {
  const google::protobuf::Struct* side = SideMetadata(item.path);
  if (side == nullptr && item.metadata.fields().empty() && !options_.exif) return "-";
  std::string all = DeterministicBytes(item.metadata);
  if (side != nullptr) absl::StrAppend(&all, "|", DeterministicBytes(*side));
  if (options_.exif) all += "|exif";
  return ContentHash(all).substr(0, 16);
}

void IndexJob::Take(SourceItem item) {
  {
    MutexLock lock(&mutex_);
    ++counts_.seen;
    if (options_.sync) id_of_path_.emplace(item.path, "");
  }
  if (!item.error.ok()) return Fail({item.path, item.id, item.error});
  if (journal_ != nullptr && !item.file.empty()) {
    const auto it = journal_->entries().find(item.path);
    if (it != journal_->entries().end()) {
      const JournalEntry& entry = it->second;
      const std::string id = !item.id.empty()        ? item.id
                             : options_.id_from_path ? item.path
                                                     : entry.content_hash;
      if (entry.size == item.size && entry.modified_ns == item.modified_ns && entry.id == id &&
          entry.metadata_hash == MetadataHash(item)) {
        return Count(item.path, entry.id, &IndexCounts::unchanged);
      }
    }
  }
  const size_t bytes = item.bytes.size();
  const std::string path = item.path;
  queue_.Push(std::move(item), bytes);
}

void IndexJob::ReadLoop() {
  while (std::optional<SourceItem> item = queue_.Pop()) Process(*std::move(item));
}

void IndexJob::Process(SourceItem item) {
  if (stopped()) {
    return Fail({item.path, item.id,
                 Error(absl::StatusCode::kCancelled, "JOB_STOPPED", "the job stopped before it")});
  }
  if (!item.file.empty()) {
    auto bytes = ReadPictureFile(item.file);
    if (!bytes.ok()) return Fail({item.path, item.id, bytes.status()});
    item.bytes = *std::move(bytes);
  }
  JournalEntry entry;
  entry.size = item.size;
  entry.modified_ns = item.modified_ns;
  entry.content_hash = ContentHash(item.bytes);
  entry.metadata_hash = MetadataHash(item);
  entry.id = !item.id.empty() ? item.id : options_.id_from_path ? item.path : entry.content_hash;
  {
    MutexLock lock(&mutex_);
    counts_.bytes_read += item.bytes.size();
    if (stored_ids_.count(entry.id) == 0) {
      const auto [open, first] = open_ids_.try_emplace(entry.id);
      if (!first) {
        open->second.push_back(item.path);
        return;
      }
    }
  }
  const Known known = LookUp(item.path, &entry);
  if (known == Known::kSame) {  // only the file's time has changed
    if (journal_ != nullptr && !options_.dry_run) {
      if (auto status = journal_->Record(item.path, entry); !status.ok()) Stop(status);
    }
    Count(item.path, entry.id, &IndexCounts::unchanged);
    return Resolve(entry.id, absl::OkStatus());
  }
  bool stored = false;
  {
    MutexLock lock(&mutex_);
    stored = stored_ids_.count(entry.id) > 0;
  }
  if (stored || known == Known::kElsewhere) {
    Count(item.path, entry.id, &IndexCounts::duplicates);
    return Resolve(entry.id, absl::OkStatus());
  }

  v1::Image image;
  image.set_id(entry.id);
  *image.mutable_metadata() = item.metadata;
  auto& fields = *image.mutable_metadata()->mutable_fields();
  fields["path"].set_string_value(item.path);
  if (options_.exif) AddExif(item.bytes, image.mutable_metadata());
  if (const auto* side = SideMetadata(item.path); side != nullptr) {
    for (const auto& [key, value] : side->fields()) fields[key] = value;
  }
  std::string note;
  if (known == Known::kNothing) {
    auto prepared = PreparePicture(std::move(item.bytes), limits_);
    if (!prepared.ok()) {
      Fail({item.path, entry.id, prepared.status()});
      return Resolve(entry.id, prepared.status());
    }
    note = prepared->note;
    entry.sent_hash = note.empty() ? entry.content_hash : ContentHash(prepared->bytes);
    image.set_content(std::move(prepared->bytes));
  }
  Send(item, entry, std::move(image), std::move(note));
}

IndexJob::Known IndexJob::LookUp(const std::string& path, JournalEntry* entry) const {
  if (journal_ == nullptr) return Known::kNothing;
  const auto by_path = journal_->entries().find(path);
  if (by_path != journal_->entries().end() && by_path->second.id == entry->id &&
      by_path->second.content_hash == entry->content_hash) {
    entry->sent_hash = by_path->second.sent_hash;
    return by_path->second.metadata_hash == entry->metadata_hash ? Known::kSame : Known::kContent;
  }
  const auto by_id = journal_path_of_id_.find(entry->id);
  if (by_id == journal_path_of_id_.end()) return Known::kNothing;
  const JournalEntry& other = journal_->entries().at(by_id->second);
  if (other.content_hash != entry->content_hash) return Known::kNothing;
  entry->sent_hash = other.sent_hash;
  std::error_code ignored;
  return std::filesystem::exists(by_id->second, ignored) ? Known::kElsewhere : Known::kContent;
}

void IndexJob::Send(const SourceItem& item, const JournalEntry& entry, v1::Image image,
                    std::string note) {
  uint64_t token = 0;
  {
    MutexLock lock(&mutex_);
    token = next_token_++;
    in_flight_[token] = {item.path, entry, std::move(note)};
  }
  if (uploader_ == nullptr) {
    return OnAck({.token = token, .id = entry.id, .status = absl::OkStatus()});
  }
  if (absl::Status status = uploader_->Add(token, std::move(image)); !status.ok()) {
    Stop(status);
    OnAck({.token = token, .id = entry.id, .status = status});
  }
}

void IndexJob::OnAck(const Uploader::Outcome& outcome) {
  InFlight done;
  {
    MutexLock lock(&mutex_);
    const auto it = in_flight_.find(outcome.token);
    done = std::move(it->second);
    in_flight_.erase(it);
    version_ = std::max(version_, outcome.version);
  }
  if (!outcome.status.ok()) {
    Fail({done.path, done.entry.id, outcome.status});
    return Resolve(done.entry.id, outcome.status);
  }
  if (!outcome.duplicates.empty()) {
    if (!outcome.skipped) {
      MutexLock lock(&mutex_);
      ++counts_.reported;
    }
    MutexLock lock(&report_mutex_);
    if (on_shrunk_) {
      on_shrunk_(done.path, absl::StrCat(outcome.skipped ? "skipped, a" : "a", " duplicate of ",
                                         outcome.duplicates[0].id()));
    }
  }
  if (outcome.skipped) {  // not in the journal: it isn't stored, and the next run asks again
    Count(done.path, done.entry.id, &IndexCounts::duplicates);
    return Resolve(done.entry.id, absl::OkStatus());
  }
  if (journal_ != nullptr && !options_.dry_run) {
    if (absl::Status status = journal_->Record(done.path, done.entry); !status.ok()) Stop(status);
  }
  Count(done.path, done.entry.id, &IndexCounts::sent);
  Resolve(done.entry.id, absl::OkStatus());
  if (done.note.empty()) return;
  {
    MutexLock lock(&mutex_);
    ++counts_.shrunk;
  }
  MutexLock lock(&report_mutex_);
  if (on_shrunk_) on_shrunk_(done.path, done.note);
}

void IndexJob::Count(const std::string& path, const std::string& id,
                     uint64_t IndexCounts::*counter) {
  MutexLock lock(&mutex_);
  ++(counts_.*counter);
  stored_ids_.insert(id);
  if (options_.sync) id_of_path_[path] = id;
}

void IndexJob::Resolve(const std::string& id, const absl::Status& status) {
  std::vector<std::string> waiting;
  {
    MutexLock lock(&mutex_);
    const auto it = open_ids_.find(id);
    if (it == open_ids_.end()) return;
    waiting = std::move(it->second);
    open_ids_.erase(it);
  }
  for (const std::string& path : waiting) {
    if (status.ok()) {
      Count(path, id, &IndexCounts::duplicates);
    } else {
      Fail({path, id, status});
    }
  }
}

void IndexJob::Fail(const Failure& failure) {
  bool too_many = false;
  {
    MutexLock lock(&mutex_);
    ++counts_.failed;
    too_many = counts_.done() >= kEnoughForARate &&
               static_cast<double>(counts_.failed) >
                   options_.max_error_rate * static_cast<double>(counts_.done());
  }
  {
    MutexLock lock(&report_mutex_);
    if (on_failure_) on_failure_(failure);
  }
  if (too_many) {
    Stop(Error(absl::StatusCode::kAborted, "TOO_MANY_FAILURES",
               absl::StrCat("more than ", options_.max_error_rate * 100,
                            " % of the pictures have failed (--max-error-rate)")));
  }
}

void IndexJob::Stop(const absl::Status& why) {
  MutexLock lock(&mutex_);
  if (stop_.ok()) stop_ = why;
}

bool IndexJob::stopped() const {
  MutexLock lock(&mutex_);
  return !stop_.ok();
}

absl::Status IndexJob::DeleteWhatIsGone(const std::vector<std::string>& roots, uint64_t* deleted) {
  std::vector<std::string> gone;
  v1::ListRequest list;
  list.set_collection(options_.collection);
  list.set_without_vector(true);
  list.set_page_size(kIdsAtOnce);
  do {
    auto page = client_->List(list);
    if (!page.ok()) return page.status();
    MutexLock lock(&mutex_);
    for (const v1::StoredImage& image : page->images()) {
      const auto field = image.metadata().fields().find("path");
      if (field == image.metadata().fields().end()) continue;
      const std::string& path = field->second.string_value();
      if (!IsBelow(path, roots) || stored_ids_.count(image.id()) > 0) continue;
      const auto seen = id_of_path_.find(path);
      // A file that is there and failed keeps its older picture.
      if (seen == id_of_path_.end() || !seen->second.empty()) gone.push_back(image.id());
    }
    list.set_page_token(page->next_page_token());
  } while (!list.page_token().empty());

  for (size_t start = 0; start < gone.size(); start += kIdsAtOnce) {
    v1::DeleteRequest request;
    request.set_collection(options_.collection);
    const size_t end = std::min(start + kIdsAtOnce, gone.size());
    for (size_t i = start; i < end; ++i) request.add_ids(gone[i]);
    auto response = client_->Delete(request);
    if (!response.ok()) return response.status();
    *deleted += response->deleted();
    MutexLock lock(&mutex_);
    version_ = std::max(version_, response->version());
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::client
