// A TIFF directory reader for one tag, and the eight ways to turn an image.
#include "encoder/image/orientation.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "encoder/image/byte_reader.h"

namespace imagesearch::encoder {
namespace {

constexpr uint32_t kOrientationTag = 0x0112;

// The tag's value in the first directory of `tiff`, whatever it is; nullopt when there is none.
std::optional<uint32_t> ExifTag(absl::string_view exif) {
  while (absl::StartsWith(exif, absl::string_view("Exif\0\0", 6))) exif.remove_prefix(6);
  if (exif.size() < 8) return std::nullopt;
  const bool big = absl::StartsWith(exif, "MM");
  if (!big && !absl::StartsWith(exif, "II")) return std::nullopt;
  const auto read16 = [&](size_t at) { return big ? Be16(exif, at) : Le16(exif, at); };
  const auto read32 = [&](size_t at) { return big ? Be32(exif, at) : Le32(exif, at); };
  if (read16(2) != 42 && read16(2) != 42u << 8) return std::nullopt;
  size_t entry = read32(4);
  if (!Has(exif, entry, 2)) return std::nullopt;
  const uint32_t count = read16(entry);
  entry += 2;
  std::optional<uint32_t> value;
  for (uint32_t i = 0; i < count && Has(exif, entry, 12); ++i, entry += 12) {
    if (read16(entry) != kOrientationTag || read32(entry + 4) != 1) continue;
    switch (read16(entry + 2)) {
      case 3:  // SHORT
      case 8:  // signed
        value = read16(entry + 8);
        break;
      case 4:   // LONG
      case 9:   // signed
      case 13:  // IFD
        value = read32(entry + 8);
        break;
      default:
        break;
    }
  }
  return value;
}

// tiff:Orientation as an attribute or an element.
int XmpOrientation(absl::string_view xmp) {
  constexpr absl::string_view kName = "tiff:Orientation";
  for (size_t at = xmp.find(kName); at != absl::string_view::npos; at = xmp.find(kName, at + 1)) {
    absl::string_view rest = xmp.substr(at + kName.size());
    if (absl::StartsWith(rest, "=\"")) {
      rest.remove_prefix(2);
    } else if (absl::StartsWith(rest, ">")) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return 1;
}

void CopyPixel(const uint8_t* from, uint8_t* to) {
  to[0] = from[0];
  to[1] = from[1];
  to[2] = from[2];
}

void MirrorRows(RgbImage& image) {
  for (int y = 0; y < image.height; ++y) {
    uint8_t* left = image.row(y);
    uint8_t* right = left + size_t{3} * (image.width - 1);
    for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

void FlipRows(RgbImage& image) {
  for (int top = 0, bottom = image.height - 1; top < bottom; ++top, --bottom) {
    std::swap_ranges(image.row(top), image.row(top) + size_t{3} * image.width, image.row(bottom));
  }
}

// Swaps x and y, in blocks that fit the first-level cache.
RgbImage Transposed(const RgbImage& image) {
  constexpr int kBlock = 32;
  RgbImage result(image.height, image.width);
  const RgbView source = image.view();
  for (int top = 0; top < image.height; top += kBlock) {
    const int bottom = std::min(top + kBlock, image.height);
    for (int left = 0; left < image.width; left += kBlock) {
      const int right = std::min(left + kBlock, image.width);
      for (int x = left; x < right; ++x) {
        uint8_t* to = result.row(x) + size_t{3} * top;
        for (int y = top; y < bottom; ++y, to += 3) CopyPixel(source.row(y) + size_t{3} * x, to);
      }
    }
  }
  return result;
}

}  // namespace

int Orientation(absl::string_view exif, absl::string_view xmp) {
  const std::optional<uint32_t> tag = ExifTag(exif);
  const uint32_t value = tag ? *tag : static_cast<uint32_t>(XmpOrientation(xmp));
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
}

RgbImage TurnUpright(RgbImage image, int orientation) {
  if (orientation >= 5) image = Transposed(image);
  // Of the transposed image: 5 needs nothing more, 6 a mirror, 7 both, 8 a flip.
  if (orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7) {
    MirrorRows(image);
  }
  if (orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8) FlipRows(image);
  return image;
}

}  // namespace imagesearch::encoder
