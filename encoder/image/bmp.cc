// Windows and OS/2 bitmaps, read as Pillow reads them: 1, 4, 8, 16, 24 and 32 bits, run-length
// coded or with bit fields, bottom-up or top-down.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "encoder/image/byte_reader.h"
#include "encoder/image/formats.h"
#include "encoder/image/pixel_math.h"

namespace imagesearch::encoder {
namespace {

constexpr size_t kFileHeader = 14;
constexpr uint32_t kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3;

struct BmpHeader {
  uint32_t width = 0, height = 0;
  bool top_down = false;
  uint32_t bits = 0, compression = kRaw;
  uint32_t colors = 0;         // entries of the palette
  uint32_t palette_entry = 4;  // bytes of one
  size_t palette_at = 0;       // also the end of headers and masks
  size_t pixels_at = 0;
  std::array<uint32_t, 4> masks{};  // red, green, blue, alpha
};

absl::StatusOr<BmpHeader> ReadHeader(absl::string_view bytes) {
  if (!Has(bytes, kFileHeader, 4)) return CorruptImage("BMP", "it ends in its header");
  BmpHeader header;
  header.pixels_at = Le32(bytes, 10);
  const uint32_t size = Le32(bytes, kFileHeader);
  if (size != 12 && size != 40 && size != 52 && size != 56 && size != 64 && size != 108 &&
      size != 124) {
    return UnsupportedImage("BMP", absl::StrCat("a header of ", size, " bytes"));
  }
  if (!Has(bytes, kFileHeader, size)) return CorruptImage("BMP", "it ends in its header");
  const absl::string_view fields = bytes.substr(kFileHeader + 4, size - 4);
  header.palette_at = kFileHeader + size;
  if (size == 12) {  // OS/2 version 1
    header.width = Le16(fields, 0);
    header.height = Le16(fields, 2);
    header.bits = Le16(fields, 6);
    header.palette_entry = 3;
  } else {
    header.width = Le32(fields, 0);
    header.height = Le32(fields, 4);
    header.top_down = ByteAt(fields, 7) == 0xFF;
    if (header.top_down) header.height = 0u - header.height;
    header.bits = Le16(fields, 10);
    header.compression = Le32(fields, 12);
    header.colors = Le32(fields, 28);
    if (header.compression == kBitFields) {
      // Masks are part of the longer headers, and follow the shortest; only those of 56 bytes and
      // more have one for alpha.
      const bool follow = size < 52;
      if (follow && !Has(bytes, header.palette_at, 12)) {
        return CorruptImage("BMP", "it ends in its bit masks");
      }
      for (size_t i = 0; i < 3; ++i) {
        header.masks[i] =
            follow ? Le32(bytes, header.palette_at + 4 * i) : Le32(fields, 36 + 4 * i);
      }
      if (size >= 56) header.masks[3] = Le32(fields, 48);
      if (follow) header.palette_at += 12;
    }
  }
  if (header.bits != 1 && header.bits != 4 && header.bits != 8 && header.bits != 16 &&
      header.bits != 24 && header.bits != 32) {
    return UnsupportedImage("BMP", absl::StrCat(header.bits, " bits a pixel"));
  }
  if (header.colors == 0 && header.bits <= 8) header.colors = 1u << header.bits;
  return header;
}

// Palette entries as RGB; colours that the file leaves out are black.
using Palette = std::array<std::array<uint8_t, 3>, 256>;

absl::StatusOr<Palette> ReadPalette(absl::string_view bytes, const BmpHeader& header) {
  if (header.colors > 65536) {
    return CorruptImage("BMP", absl::StrCat("a palette of ", header.colors, " colours"));
  }
  Palette palette{};
  const size_t available = header.palette_at < bytes.size()
                               ? (bytes.size() - header.palette_at) / header.palette_entry
                               : 0;
  const size_t count = std::min<size_t>(header.colors, available);
  bool grey_ramp = true;
  for (size_t i = 0; i < count; ++i) {
    const size_t at = header.palette_at + i * header.palette_entry;
    const std::array<uint8_t, 3> rgb = {ByteAt(bytes, at + 2), ByteAt(bytes, at + 1),
                                        ByteAt(bytes, at)};
    grey_ramp &= i < 256 && rgb[0] == i && rgb[1] == i && rgb[2] == i;
    if (i < palette.size()) palette[i] = rgb;
  }
  if (count > palette.size() && !grey_ramp) {
    return CorruptImage("BMP", absl::StrCat("a palette of ", header.colors, " colours"));
  }
  return palette;
}

// The run-length coded pixels as palette indices, bottom or top row first as in the file.
absl::StatusOr<std::vector<uint8_t>> ReadRuns(absl::string_view bytes, const BmpHeader& header) {
  const bool nibbles = header.compression == kRle4;
  const size_t width = header.width, total = width * header.height;
  std::vector<uint8_t> out;
  out.reserve(total);
  size_t at = header.pixels_at, x = 0;
  while (out.size() < total && Has(bytes, at, 2)) {
    const size_t count = ByteAt(bytes, at);
    const uint8_t value = ByteAt(bytes, at + 1);
    at += 2;
    if (count > 0) {  // a run, cut at the end of the row
      const size_t run = std::min(count, width - std::min(x, width));
      for (size_t i = 0; i < run; ++i) {
        out.push_back(!nibbles ? value : i % 2 == 0 ? value >> 4 : value & 0x0F);
      }
      x += run;
    } else if (value == 0) {  // end of row
      out.resize((out.size() + width - 1) / width * width);
      x = 0;
    } else if (value == 1) {  // end of image
      break;
    } else if (value == 2) {  // a jump to the right and up
      if (!Has(bytes, at, 2)) break;
      const size_t skip = ByteAt(bytes, at) + ByteAt(bytes, at + 1) * width;
      at += 2;
      out.resize(out.size() + std::min(skip, total - out.size()));
      x = out.size() % width;
    } else {  // literal pixels, padded to 16 bits
      const size_t wanted = std::min<size_t>(value, total - out.size());
      const size_t size = nibbles ? (wanted + 1) / 2 : wanted;
      const size_t available = at < bytes.size() ? std::min(size, bytes.size() - at) : 0;
      for (size_t i = 0; i < available; ++i, ++at) {
        const uint8_t byte = ByteAt(bytes, at);
        if (!nibbles) {
          out.push_back(byte);
        } else {
          out.push_back(byte >> 4);
          if (2 * i + 1 < wanted) out.push_back(byte & 0x0F);
        }
      }
      if (available < size) break;
      x += value;
      at += at % 2;
    }
  }
  if (out.size() < total) return CorruptImage("BMP", "its run-length coded pixels end early");
  return out;
}

// Byte offsets of red, green, blue and alpha (-1: opaque) in a 32-bit pixel.
struct ByteLayout {
  std::array<uint32_t, 4> masks;
  std::array<int, 4> offsets;
};
constexpr ByteLayout kLayouts32[] = {
    {{0xFF0000, 0xFF00, 0xFF, 0}, {2, 1, 0, -1}},
    {{0xFF000000, 0xFF0000, 0xFF00, 0}, {3, 2, 1, -1}},
    {{0xFF000000, 0xFF00, 0xFF, 0}, {3, 1, 0, -1}},
    {{0xFF000000, 0xFF0000, 0xFF00, 0xFF}, {3, 2, 1, 0}},
    {{0xFF, 0xFF00, 0xFF0000, 0xFF000000}, {0, 1, 2, 3}},
    {{0xFF0000, 0xFF00, 0xFF, 0xFF000000}, {2, 1, 0, 3}},
    {{0xFF000000, 0xFF00, 0xFF, 0xFF0000}, {3, 1, 0, 2}},
    {{0, 0, 0, 0}, {2, 1, 0, 3}},
};

using RowReader = void (*)(const uint8_t* row, int width, const ByteLayout& layout, uint8_t* out);

void Read24(const uint8_t* row, int width, const ByteLayout&, uint8_t* out) {
  for (int x = 0; x < width; ++x, row += 3, out += 3) {
    out[0] = row[2];
    out[1] = row[1];
    out[2] = row[0];
  }
}

void Read32(const uint8_t* row, int width, const ByteLayout& layout, uint8_t* out) {
  for (int x = 0; x < width; ++x, row += 4, out += 3) {
    const uint8_t alpha = layout.offsets[3] < 0 ? 255 : row[layout.offsets[3]];
    for (int i = 0; i < 3; ++i) out[i] = OverWhite(row[layout.offsets[i]], alpha);
  }
}

template <int kGreenBits>
void Read16(const uint8_t* row, int width, const ByteLayout&, uint8_t* out) {
  constexpr int kGreenMax = (1 << kGreenBits) - 1;
  for (int x = 0; x < width; ++x, row += 2, out += 3) {
    const int pixel = row[0] | row[1] << 8;
    out[0] = static_cast<uint8_t>((pixel >> (5 + kGreenBits) & 31) * 255 / 31);
    out[1] = static_cast<uint8_t>((pixel >> 5 & kGreenMax) * 255 / kGreenMax);
    out[2] = static_cast<uint8_t>((pixel & 31) * 255 / 31);
  }
}

// How rows of 16 bits and more become RGB.
absl::StatusOr<std::pair<RowReader, const ByteLayout*>> ColorReader(const BmpHeader& header) {
  const std::array<uint32_t, 4>& masks = header.masks;
  const auto rgb_is = [&masks](uint32_t red, uint32_t green, uint32_t blue) {
    return masks[0] == red && masks[1] == green && masks[2] == blue;
  };
  const bool fields = header.compression == kBitFields;
  if (!fields && header.compression != kRaw) {
    return CorruptImage("BMP", absl::StrCat("compression ", header.compression, " with ",
                                            header.bits, " bits a pixel"));
  }
  if (header.bits == 32) {
    if (!fields) return std::pair(&Read32, &kLayouts32[0]);
    for (const ByteLayout& layout : kLayouts32) {
      if (layout.masks == masks) return std::pair(&Read32, &layout);
    }
  } else if (header.bits == 24) {
    if (!fields || rgb_is(0xFF0000, 0xFF00, 0xFF)) return std::pair(&Read24, &kLayouts32[0]);
  } else {
    if (!fields || rgb_is(0x7C00, 0x3E0, 0x1F)) return std::pair(&Read16<5>, &kLayouts32[0]);
    if (rgb_is(0xF800, 0x7E0, 0x1F)) return std::pair(&Read16<6>, &kLayouts32[0]);
  }
  return UnsupportedImage(
      "BMP", absl::StrCat("bit masks ", absl::Hex(masks[0]), " ", absl::Hex(masks[1]), " ",
                          absl::Hex(masks[2]), " ", absl::Hex(masks[3])));
}

}  // namespace

absl::StatusOr<ImageHeader> ProbeBmp(absl::string_view bytes) {
  absl::StatusOr<BmpHeader> header = ReadHeader(bytes);
  if (!header.ok()) return header.status();
  return ImageHeader{ImageFormat::kBmp, header->width, header->height};
}

absl::StatusOr<DecodedImage> DecodeBmp(absl::string_view bytes, const ImageLimits& limits) {
  absl::StatusOr<BmpHeader> read = ReadHeader(bytes);
  if (!read.ok()) return read.status();
  BmpHeader& header = *read;
  if (absl::Status status =
          CheckImageLimits({ImageFormat::kBmp, header.width, header.height}, limits);
      !status.ok()) {
    return status;
  }
  const bool runs = header.compression == kRle8 || header.compression == kRle4;
  if (!runs && header.compression != kRaw && header.compression != kBitFields) {
    return UnsupportedImage("BMP", absl::StrCat("compression ", header.compression));
  }
  if (header.compression == kBitFields && header.bits <= 8) {
    return UnsupportedImage("BMP", absl::StrCat("bit masks with ", header.bits, " bits a pixel"));
  }

  Palette palette{};
  RowReader read_row = nullptr;
  const ByteLayout* layout = nullptr;
  if (header.bits <= 8) {
    absl::StatusOr<Palette> entries = ReadPalette(bytes, header);
    if (!entries.ok()) return entries.status();
    palette = *entries;
    const size_t palette_end = header.palette_at + size_t{header.colors} * header.palette_entry;
    if (header.pixels_at == 0 || header.pixels_at == header.palette_at) {
      header.pixels_at = palette_end;
    }
  } else {
    auto reader = ColorReader(header);
    if (!reader.ok()) return reader.status();
    std::tie(read_row, layout) = *reader;
    if (header.pixels_at == 0) header.pixels_at = header.palette_at;
  }

  const int width = static_cast<int>(header.width), height = static_cast<int>(header.height);
  // The last row may lack its padding.
  const size_t row_bytes = (size_t{header.width} * header.bits + 7) / 8;
  const size_t stride = (size_t{header.width} * header.bits + 31) / 32 * 4;
  std::vector<uint8_t> indices;
  if (runs) {
    absl::StatusOr<std::vector<uint8_t>> decoded = ReadRuns(bytes, header);
    if (!decoded.ok()) return decoded.status();
    indices = *std::move(decoded);
  } else if (!Has(bytes, header.pixels_at, stride * (header.height - 1) + row_bytes)) {
    return CorruptImage("BMP", "it ends in its pixels");
  }

  DecodedImage result{RgbImage(width, height)};
  const auto* file = reinterpret_cast<const uint8_t*>(bytes.data());
  for (int y = 0; y < height; ++y) {
    uint8_t* out = result.pixels.row(header.top_down ? y : height - 1 - y);
    const uint8_t* row = runs ? &indices[size_t{header.width} * y]
                              : file + header.pixels_at + stride * static_cast<size_t>(y);
    if (read_row != nullptr) {
      read_row(row, width, *layout, out);
      continue;
    }
    for (int x = 0; x < width; ++x, out += 3) {
      const unsigned bits = runs ? 8 : header.bits;
      const size_t bit = size_t{bits} * x;
      const uint8_t index =
          static_cast<uint8_t>(row[bit / 8] >> (8 - bits - bit % 8) & ((1u << bits) - 1));
      std::copy(palette[index].begin(), palette[index].end(), out);
    }
  }
  return result;
}

}  // namespace imagesearch::encoder
