#include "index/store/row_file.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/store/records.pb.h"

namespace imagesearch::index {

// Payload: vectors (rows, dimension) float32 | padding to 8 | id offsets (rows + 1) uint64 | slots
// (rows) uint32 | id bytes.
namespace {
constexpr uint64_t PadTo8(uint64_t size) { return (size + 7) & ~uint64_t{7}; }
}  // namespace

absl::StatusOr<std::shared_ptr<const RowFile>> RowFile::Open(const std::string& path,
                                                             const FileIdentity& identity) {
  auto file = CheckedFile::Open(path, FileKind::kRows);
  if (!file.ok()) return file.status();
  auto damaged = [&](absl::string_view what) {
    return Error(absl::StatusCode::kDataLoss, "INDEX_FILE_CORRUPT", absl::StrCat(path, ": ", what));
  };
  records::SegmentDescription description;
  if (!description.ParseFromArray((*file)->description().data(),
                                  static_cast<int>((*file)->description().size()))) {
    return damaged("unreadable description");
  }
  if (description.instance_id() != identity.instance_id ||
      description.collection() != identity.collection ||
      description.dimension() != identity.dimension || description.dimension() < 1 ||
      description.model_fingerprint() != identity.model_fingerprint) {
    return damaged("belongs to another collection");
  }
  auto result = std::make_shared<RowFile>();
  result->rows_ = description.rows();
  result->dimension_ = description.dimension();
  result->first_slot_ = description.first_slot();
  result->end_slot_ = description.end_slot();
  const uint64_t rows = description.rows();
  const uint64_t vector_bytes = PadTo8(rows * result->dimension_ * sizeof(float));
  const uint64_t offset_bytes = (rows + 1) * sizeof(uint64_t);
  const uint64_t slot_bytes = rows * sizeof(uint32_t);
  const absl::string_view payload = (*file)->payload();
  if (description.id_bytes() > payload.size() ||
      vector_bytes + offset_bytes + slot_bytes + description.id_bytes() != payload.size()) {
    return damaged("its sizes do not add up");
  }
  result->vectors_ = reinterpret_cast<const float*>(payload.data());
  result->id_offsets_ = reinterpret_cast<const uint64_t*>(payload.data() + vector_bytes);
  result->slots_ = reinterpret_cast<const uint32_t*>(payload.data() + vector_bytes + offset_bytes);
  result->ids_ = payload.data() + vector_bytes + offset_bytes + slot_bytes;
  if (result->id_offsets_[0] != 0 || result->id_offsets_[rows] != description.id_bytes() ||
      !std::is_sorted(result->id_offsets_, result->id_offsets_ + rows + 1)) {
    return damaged("its ids do not add up");
  }
  for (uint64_t row = 0; row < rows; ++row) {
    const uint32_t slot = result->slots_[row];
    if (slot < result->first_slot_ || slot >= result->end_slot_ ||
        (row > 0 && slot <= result->slots_[row - 1])) {
      return damaged("its slots are out of order");
    }
  }
  result->file_ = *std::move(file);
  return result;
}

std::optional<uint32_t> RowFile::RowOfSlot(uint32_t slot) const {
  if (slot < first_slot_ || slot >= end_slot_) return std::nullopt;
  // Row r has at least slot first_slot + r, so the row is at most slot - first_slot.
  const uint32_t* end = slots_ + std::min(rows_, slot - first_slot_ + 1);
  const uint32_t* at = std::lower_bound(slots_, end, slot);
  if (at == end || *at != slot) return std::nullopt;
  return static_cast<uint32_t>(at - slots_);
}

absl::StatusOr<std::unique_ptr<RowFileWriter>> RowFileWriter::Create(rocksdb::Env* env,
                                                                     const std::string& path,
                                                                     const FileIdentity& identity) {
  auto file = CheckedFileWriter::Create(env, path, FileKind::kRows);
  if (!file.ok()) return file.status();
  return std::unique_ptr<RowFileWriter>(new RowFileWriter(*std::move(file), identity));
}

void RowFileWriter::Add(uint32_t slot, absl::string_view id, const float* vector) {
  file_->Write(vector, identity_.dimension * sizeof(float));
  slots_.push_back(slot);
  ids_.append(id.data(), id.size());
  id_offsets_.push_back(ids_.size());
}

absl::Status RowFileWriter::Finish(uint32_t first_slot, uint32_t end_slot) {
  const uint64_t zeros = 0;
  file_->Write(&zeros, PadTo8(file_->payload_size()) - file_->payload_size());
  file_->Write(id_offsets_.data(), id_offsets_.size() * sizeof(uint64_t));
  file_->Write(slots_.data(), slots_.size() * sizeof(uint32_t));
  file_->Write(ids_.data(), ids_.size());
  records::SegmentDescription description;
  description.set_instance_id(identity_.instance_id);
  description.set_collection(identity_.collection);
  description.set_dimension(identity_.dimension);
  description.set_model_fingerprint(identity_.model_fingerprint);
  description.set_rows(rows());
  description.set_first_slot(first_slot);
  description.set_end_slot(end_slot);
  description.set_id_bytes(ids_.size());
  return file_->Finish(description.SerializeAsString());
}

}  // namespace imagesearch::index
