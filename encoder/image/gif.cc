// The first frame of a GIF on its canvas, read as Pillow reads it.
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "encoder/image/byte_reader.h"
#include "encoder/image/formats.h"

namespace imagesearch::encoder {
namespace {

// Where the colours of a palette lie in the file.
struct PaletteBytes {
  size_t at = 0;
  int colors = 0;
};

struct GifFrame {
  uint32_t canvas_width = 0, canvas_height = 0;  // grown to hold the frame
  uint32_t left = 0, top = 0, width = 0, height = 0;
  bool interlaced = false;
  std::optional<PaletteBytes> palette;  // the frame's own, else the global one
  std::optional<uint8_t> transparent;
  uint8_t code_bits = 0;
  size_t data_at = 0;  // first block of compressed data
};

// Skips the data sub-blocks at `at`, through the empty one that ends them.
void SkipBlocks(absl::string_view bytes, size_t& at) {
  while (at < bytes.size()) {
    const size_t size = ByteAt(bytes, at++);
    if (size == 0) return;
    at += std::min(size, bytes.size() - at);
  }
}

// A palette of 2 << (flags & 7) colours at `at`, cut where the file ends.
PaletteBytes TakePalette(absl::string_view bytes, uint8_t flags, size_t& at) {
  const size_t size = std::min<size_t>(size_t{3} << ((flags & 7) + 1), bytes.size() - at);
  const PaletteBytes palette = {at, static_cast<int>(size / 3)};
  at += size;
  return palette;
}

// Reads up to the first frame's compressed data.
absl::StatusOr<GifFrame> ReadFrame(absl::string_view bytes) {
  if (!Has(bytes, 0, 13)) return CorruptImage("GIF", "it ends in its header");
  GifFrame frame;
  frame.canvas_width = Le16(bytes, 6);
  frame.canvas_height = Le16(bytes, 8);
  size_t at = 13;
  if (ByteAt(bytes, 10) & 0x80) frame.palette = TakePalette(bytes, ByteAt(bytes, 10), at);
  while (at < bytes.size()) {
    const uint8_t kind = ByteAt(bytes, at++);
    if (kind == ';') break;
    if (kind == '!') {
      if (!Has(bytes, at, 2)) break;
      const uint8_t label = ByteAt(bytes, at++);
      const size_t size = ByteAt(bytes, at);
      if (label == 0xF9 && size >= 4 && Has(bytes, at + 1, size)) {  // graphic control
        if (ByteAt(bytes, at + 1) & 1) frame.transparent = ByteAt(bytes, at + 4);
      }
      SkipBlocks(bytes, at);
      continue;
    }
    if (kind != ',') continue;  // stray bytes between blocks
    if (!Has(bytes, at, 10)) return CorruptImage("GIF", "it ends in its image descriptor");
    frame.left = Le16(bytes, at);
    frame.top = Le16(bytes, at + 2);
    frame.width = Le16(bytes, at + 4);
    frame.height = Le16(bytes, at + 6);
    const uint8_t flags = ByteAt(bytes, at + 8);
    at += 9;
    frame.interlaced = (flags & 0x40) != 0;
    if (flags & 0x80) frame.palette = TakePalette(bytes, flags, at);
    if (at >= bytes.size()) return CorruptImage("GIF", "it ends before its pixels");
    frame.code_bits = ByteAt(bytes, at++);
    frame.data_at = at;
    frame.canvas_width = std::max(frame.canvas_width, frame.left + frame.width);
    frame.canvas_height = std::max(frame.canvas_height, frame.top + frame.height);
    if (frame.width == 0 || frame.height == 0) return CorruptImage("GIF", "its frame is empty");
    return frame;
  }
  return CorruptImage("GIF", "it has no frame");
}

// Rows of a frame in the order of the file.
class RowOrder {
 public:
  RowOrder(int height, bool interlaced) : height_(height), pass_(interlaced ? 0 : -1) {}

  int row() const { return row_; }
  // False behind the last row.
  bool Advance() {
    constexpr int kStart[] = {0, 4, 2, 1}, kStep[] = {8, 8, 4, 2};
    row_ += pass_ < 0 ? 1 : kStep[pass_];
    while (row_ >= height_) {
      if (pass_ < 0 || pass_ == 3) return false;
      row_ = kStart[++pass_];
    }
    return true;
  }

 private:
  const int height_;
  int pass_, row_ = 0;
};

// Codes of varying width from the data sub-blocks.
class CodeReader {
 public:
  CodeReader(absl::string_view bytes, size_t at) : bytes_(bytes), at_(at) {}

  // nullopt when the file ends first. A block that is cut counts as missing.
  std::optional<int> Next(int width) {
    while (bit_count_ < width) {
      if (block_left_ == 0) {
        if (at_ >= bytes_.size()) return std::nullopt;
        block_left_ = ByteAt(bytes_, at_++);
        if (!Has(bytes_, at_, block_left_)) return std::nullopt;
        continue;
      }
      bits_ |= uint32_t{ByteAt(bytes_, at_++)} << bit_count_;
      bit_count_ += 8;
      --block_left_;
    }
    const int code = static_cast<int>(bits_ & ((1u << width) - 1));
    bits_ >>= width;
    bit_count_ -= width;
    return code;
  }

 private:
  const absl::string_view bytes_;
  size_t at_, block_left_ = 0;
  uint32_t bits_ = 0;
  int bit_count_ = 0;
};

// Decompresses the frame into the canvas of palette indices.
absl::Status ReadPixels(absl::string_view bytes, const GifFrame& frame,
                        std::vector<uint8_t>& canvas) {
  constexpr int kMaxCodes = 4096;
  if (frame.code_bits > 11) return CorruptImage("GIF", "its code size is too large");
  const int clear = 1 << frame.code_bits, end = clear + 1;
  std::array<uint16_t, kMaxCodes> prefix;
  std::array<uint8_t, kMaxCodes> suffix;
  std::array<uint8_t, kMaxCodes> string;  // of the current code, filled from its end
  int next = clear + 2, width = frame.code_bits + 1;
  int previous = -1;  // code before; -1 after a clear code
  uint8_t first = 0;  // first index of the previous code's string

  CodeReader codes(bytes, frame.data_at);
  RowOrder rows(static_cast<int>(frame.height), frame.interlaced);
  uint32_t x = 0;
  const auto row_start = [&] {
    return &canvas[size_t{frame.canvas_width} * (frame.top + static_cast<uint32_t>(rows.row())) +
                   frame.left];
  };
  uint8_t* row = row_start();
  while (true) {
    const std::optional<int> read = codes.Next(width);
    if (!read) return CorruptImage("GIF", "its pixels end early");
    int code = *read;
    if (code == clear) {
      next = clear + 2;
      width = frame.code_bits + 1;
      previous = -1;
      continue;
    }
    if (code == end) continue;  // pixels are still missing: whatever follows must supply them
    int length = 0;
    const auto push = [&](uint8_t index) { string[kMaxCodes - ++length] = index; };
    if (previous < 0) {
      if (code > clear) return CorruptImage("GIF", "a code that can't come first");
      first = static_cast<uint8_t>(code);
      push(first);
    } else {
      if (code > next) return CorruptImage("GIF", "a code that isn't defined yet");
      int walk = code;
      if (walk == next) {
        push(first);
        walk = previous;
      }
      while (walk >= clear) {
        if (walk >= next || walk < clear + 2 || length == kMaxCodes - 1) {
          return CorruptImage("GIF", "a code that isn't defined");
        }
        push(suffix[walk]);
        walk = prefix[walk];
      }
      first = static_cast<uint8_t>(walk);
      push(first);
      if (next < kMaxCodes) {
        suffix[next] = first;
        prefix[next] = static_cast<uint16_t>(previous);
        if (next == (1 << width) - 1 && width < 12) ++width;
        ++next;
      }
    }
    previous = code;
    for (int i = kMaxCodes - length; i < kMaxCodes; ++i) {
      row[x] = string[i];
      if (++x < frame.width) continue;
      x = 0;
      if (!rows.Advance()) return absl::OkStatus();
      row = row_start();
    }
  }
}

// The frame's palette as RGB bytes; empty when indices are grey values: without any palette, or
// with one that says so, as far as it goes.
absl::string_view PaletteOf(absl::string_view bytes, const GifFrame& frame) {
  if (!frame.palette) return {};
  const absl::string_view palette =
      bytes.substr(frame.palette->at, size_t{3} * static_cast<size_t>(frame.palette->colors));
  for (size_t i = 0; i < palette.size(); ++i) {
    if (ByteAt(palette, i) != i / 3) return palette;
  }
  return {};
}

}  // namespace

absl::StatusOr<ImageHeader> ProbeGif(absl::string_view bytes) {
  absl::StatusOr<GifFrame> frame = ReadFrame(bytes);
  if (!frame.ok()) return frame.status();
  return ImageHeader{ImageFormat::kGif, frame->canvas_width, frame->canvas_height};
}

absl::StatusOr<DecodedImage> DecodeGif(absl::string_view bytes, const ImageLimits& limits) {
  absl::StatusOr<GifFrame> frame = ReadFrame(bytes);
  if (!frame.ok()) return frame.status();
  if (absl::Status status =
          CheckImageLimits({ImageFormat::kGif, frame->canvas_width, frame->canvas_height}, limits);
      !status.ok()) {
    return status;
  }
  // What the frame leaves free is transparent, or else of colour 0.
  std::vector<uint8_t> canvas(size_t{frame->canvas_width} * frame->canvas_height,
                              frame->transparent.value_or(0));
  if (absl::Status status = ReadPixels(bytes, *frame, canvas); !status.ok()) return status;

  const absl::string_view palette = PaletteOf(bytes, *frame);
  std::array<std::array<uint8_t, 3>, 256> colors{};  // what a palette lacks is black
  for (size_t i = 0; i < colors.size(); ++i) {
    if (palette.empty()) {
      colors[i].fill(static_cast<uint8_t>(i));
    } else if (i < palette.size() / 3) {
      for (size_t c = 0; c < 3; ++c) colors[i][c] = ByteAt(palette, 3 * i + c);
    }
  }
  if (frame->transparent) colors[*frame->transparent].fill(255);

  DecodedImage result{
      RgbImage(static_cast<int>(frame->canvas_width), static_cast<int>(frame->canvas_height))};
  uint8_t* to = result.pixels.data.data();
  for (uint8_t index : canvas) to = std::copy(colors[index].begin(), colors[index].end(), to);
  return result;
}

}  // namespace imagesearch::encoder
