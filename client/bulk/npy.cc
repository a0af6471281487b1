// See npy.h.
#include "client/bulk/npy.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <regex>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"

namespace imagesearch::client {
namespace {

static_assert(std::endian::native == std::endian::little, ".npy data are copied as they are");

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = 6;
constexpr size_t kHeaderSize = 128;  // room for any row count, and aligned as numpy asks
constexpr int kMostDimensions = 65'536;

absl::Status Bad(const std::string& path, absl::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "LOCAL_FILE", absl::StrCat(path, ": ", what));
}

// IEEE 754 binary16.
float FromHalf(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  float value = exponent == 0    ? std::ldexp(static_cast<float>(fraction), -24)
                : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                 : std::ldexp(static_cast<float>(fraction | 1024), exponent - 25);
  return half & 0x8000 ? -value : value;
}

}  // namespace

absl::StatusOr<std::unique_ptr<NpyWriter>> NpyWriter::Open(const std::string& path, int dimension) {
  std::unique_ptr<NpyWriter> writer(new NpyWriter(path, dimension));
  writer->out_.open(path, std::ios::binary | std::ios::trunc);
  writer->WriteHeader();
  if (!writer->out_) return Bad(path, "can't be written");
  return writer;
}

void NpyWriter::WriteHeader() {
  std::string text = absl::StrFormat(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows_, dimension_);
  text.resize(kHeaderSize - kMagicSize - 4 - 1, ' ');
  text += '\n';
  const char size[4] = {1, 0, static_cast<char>(text.size()), 0};  // version 1.0
  out_.write(kMagic, kMagicSize);
  out_.write(size, sizeof size);
  out_.write(text.data(), static_cast<std::streamsize>(text.size()));
}

absl::Status NpyWriter::Write(const std::vector<float>& row) {
  if (static_cast<int>(row.size()) != dimension_) {
    return absl::InternalError(absl::StrCat("a row of ", row.size(), " values in ", path_));
  }
  out_.write(reinterpret_cast<const char*>(row.data()),
             static_cast<std::streamsize>(row.size() * sizeof(float)));
  ++rows_;
  return out_ ? absl::OkStatus() : Bad(path_, "can't be written");
}

absl::Status NpyWriter::Close() {
  out_.seekp(0);
  WriteHeader();
  out_.close();
  return out_ ? absl::OkStatus() : Bad(path_, "can't be written");
}

absl::StatusOr<std::unique_ptr<NpyReader>> NpyReader::Open(const std::string& path) {
  std::unique_ptr<NpyReader> reader(new NpyReader(path));
  reader->in_.open(path, std::ios::binary);
  if (!reader->in_) return Bad(path, "can't be opened");
  if (absl::Status status = reader->ReadHeader(); !status.ok()) return status;
  return reader;
}

absl::Status NpyReader::ReadHeader() {
  unsigned char start[12] = {};
  in_.read(reinterpret_cast<char*>(start), 10);
  if (!in_ || std::memcmp(start, kMagic, kMagicSize) != 0) return Bad(path_, "is no .npy file");
  size_t size = start[8] | start[9] << 8;
  if (start[6] >= 2) {  // versions 2 and 3 have a size of four bytes
    in_.read(reinterpret_cast<char*>(start + 10), 2);
    size |= size_t{start[10]} << 16 | size_t{start[11]} << 24;
  }
  if (size > 1 << 20) return Bad(path_, "has a header of more than 1 MiB");
  std::string text(size, '\0');
  in_.read(text.data(), static_cast<std::streamsize>(size));
  std::smatch type, shape;
  static const std::regex kType("'descr': *'<f([24])'");
  static const std::regex kShape("'shape': *\\(([0-9]+), *([0-9]+)\\)");
  static const std::regex kOrder("'fortran_order': *False");
  if (!in_ || !std::regex_search(text, type, kType) || !std::regex_search(text, shape, kShape) ||
      !std::regex_search(text, kOrder)) {
    return Bad(path_, "is not an (n, d) array of float16 or float32 in C order");
  }
  half_ = type[1] == "2";
  if (!absl::SimpleAtoi(shape[1].str(), &rows_) || !absl::SimpleAtoi(shape[2].str(), &dimension_) ||
      dimension_ < 1 || dimension_ > kMostDimensions || rows_ > uint64_t{1} << 40) {
    return Bad(path_, "has an impossible shape");
  }
  std::error_code error;
  const uint64_t needed = static_cast<uint64_t>(in_.tellg()) + rows_ * dimension_ * (half_ ? 2 : 4);
  if (std::filesystem::file_size(path_, error) < needed) {
    return Bad(path_, "is shorter than its header says");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> NpyReader::Read() {
  if (read_ == rows_) return absl::OutOfRangeError("no further row");
  ++read_;
  std::vector<float> row(dimension_);
  if (!half_) {
    in_.read(reinterpret_cast<char*>(row.data()),
             static_cast<std::streamsize>(row.size() * sizeof(float)));
  } else {
    std::vector<uint16_t> halves(dimension_);
    in_.read(reinterpret_cast<char*>(halves.data()),
             static_cast<std::streamsize>(halves.size() * sizeof(uint16_t)));
    for (size_t i = 0; i < row.size(); ++i) row[i] = FromHalf(halves[i]);
  }
  if (!in_) return Bad(path_, "can't be read to its end");
  return row;
}

}  // namespace imagesearch::client
