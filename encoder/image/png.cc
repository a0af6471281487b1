// PNG pixels by libpng; colours as Pillow converts them to RGB.
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "encoder/image/byte_reader.h"
#include "encoder/image/formats.h"
#include "encoder/image/orientation.h"
#include "encoder/image/pixel_math.h"
#include "encoder/image/png_chunks.h"

namespace imagesearch::encoder {
namespace {

// libpng reports errors by not returning: its functions are called only between setjmp() in Run()
// and the end of a step, and a step owns nothing that has a destructor.
class PngReader {
 public:
  explicit PngReader(absl::string_view bytes) : bytes_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &Fail, [](png_structp, auto) {});
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  // Reads up to the pixels. Steps are false when libpng gave up: see error().
  bool Start(const ImageLimits& limits) {
    if (info_ == nullptr) return false;
    limits_ = limits;
    return Run([](PngReader& self) {
      png_structp png = self.png_;
      png_set_read_fn(png, &self, &Read);
      png_set_user_limits(png, self.limits_.max_side, self.limits_.max_side);
      png_set_chunk_malloc_max(png, 8u << 20);
      // Checksums of what matters have been checked (png_chunks.h).
      png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
      png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
      png_set_benign_errors(png, 1);
      // Some writers claim a smaller window than they use; Pillow doesn't mind.
      png_set_option(png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
      png_read_info(png, self.info_);
      self.depth_ = png_get_bit_depth(png, self.info_);
      // Of 16-bit colours Pillow takes the high byte; 16-bit grey it treats differently.
      if (self.depth_ == 16 && png_get_color_type(png, self.info_) != PNG_COLOR_TYPE_GRAY) {
        png_set_strip_16(png);
      }
      self.passes_ = png_set_interlace_handling(png);
      png_read_update_info(png, self.info_);
      self.row_bytes_ = png_get_rowbytes(png, self.info_);
    });
  }

  // Whether libpng has read the same header.
  bool Agrees(const PngChunks& chunks) const {
    return png_get_image_width(png_, info_) == chunks.width &&
           png_get_image_height(png_, info_) == chunks.height && depth_ == chunks.depth &&
           png_get_color_type(png_, info_) == chunks.color_type;
  }

  size_t row_bytes() const { return row_bytes_; }
  bool interlaced() const { return passes_ > 1; }

  // The next row.
  bool ReadRow(uint8_t* row) {
    row_ = row;
    return Run([](PngReader& self) { png_read_row(self.png_, self.row_, nullptr); });
  }
  // All rows of an interlaced image.
  bool ReadRows(std::vector<uint8_t*>& rows) {
    rows_ = rows.data();
    return Run([](PngReader& self) { png_read_image(self.png_, self.rows_); });
  }

  absl::Status error() const { return CorruptImage("PNG", message_); }

 private:
  bool Run(void (*step)(PngReader&)) {
    if (setjmp(jump_) != 0) return false;
    step(*this);
    return true;
  }

  [[noreturn]] static void Fail(png_structp png, png_const_charp message) {
    auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(self->message_, message, sizeof(self->message_) - 1);
    std::longjmp(self->jump_, 1);
  }

  static void Read(png_structp png, png_bytep to, size_t size) {
    auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > self->bytes_.size() - self->at_) png_error(png, "the file is cut");
    std::memcpy(to, self->bytes_.data() + self->at_, size);
    self->at_ += size;
  }

  const absl::string_view bytes_;
  size_t at_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_;
  char message_[128] = "libpng could not start";
  ImageLimits limits_;
  int passes_ = 1, depth_ = 0;
  size_t row_bytes_ = 0;
  uint8_t* row_ = nullptr;
  uint8_t** rows_ = nullptr;
};

// Turns rows as libpng gives them into RGB over white.
class RowConverter {
 public:
  explicit RowConverter(const PngChunks& chunks)
      : width_(chunks.width), depth_(chunks.depth), type_(chunks.color_type) {
    const absl::string_view clear = chunks.transparency;
    if (type_ == PNG_COLOR_TYPE_PALETTE) {
      for (size_t i = 0; i < colors_.size(); ++i) {  // what the palette lacks is black
        std::array<uint8_t, 4> rgba = {0, 0, 0, 255};
        for (size_t c = 0; c < 3 && 3 * i + c < chunks.palette.size(); ++c) {
          rgba[c] = ByteAt(chunks.palette, 3 * i + c);
        }
        if (i < clear.size()) rgba[3] = ByteAt(clear, i);
        OverWhite(rgba.data(), colors_[i].data());
      }
    } else if (type_ == PNG_COLOR_TYPE_GRAY && depth_ < 16) {
      // Pillow compares the transparent value with the grey scaled to 8 bits, but for 1 bit.
      std::optional<int> transparent;
      if (!clear.empty()) {
        const int value = static_cast<int>(Be16(clear, 0));
        transparent = depth_ == 1 ? (value != 0 ? 255 : 0) : value & 0xFF;
      }
      const int top = (1 << depth_) - 1;
      for (int i = 0; i <= top; ++i) {
        const int grey = i * 255 / top;
        colors_[i].fill(static_cast<uint8_t>(transparent == grey ? 255 : grey));
      }
    } else if (type_ == PNG_COLOR_TYPE_RGB && !clear.empty()) {
      // Of a 16-bit value Pillow compares the low byte.
      transparent_ = {ByteAt(clear, 1), ByteAt(clear, 3), ByteAt(clear, 5)};
    }
  }

  void Convert(const uint8_t* row, uint8_t* out) const {
    switch (type_) {
      case PNG_COLOR_TYPE_GRAY:
        if (depth_ == 16) {  // cut off at 255, not scaled
          for (uint32_t x = 0; x < width_; ++x, row += 2, out += 3) {
            std::memset(out, row[0] != 0 ? 255 : row[1], 3);
          }
          return;
        }
        [[fallthrough]];
      case PNG_COLOR_TYPE_PALETTE:
        for (uint32_t x = 0; x < width_; ++x, out += 3) {
          const size_t bit = size_t{x} * static_cast<size_t>(depth_);
          const int index =
              row[bit / 8] >> (8 - depth_ - static_cast<int>(bit % 8)) & ((1 << depth_) - 1);
          std::copy(colors_[index].begin(), colors_[index].end(), out);
        }
        return;
      case PNG_COLOR_TYPE_RGB:
        std::memcpy(out, row, size_t{3} * width_);
        if (!transparent_) return;
        for (uint32_t x = 0; x < width_; ++x, out += 3) {
          if (std::equal(out, out + 3, transparent_->begin())) std::memset(out, 255, 3);
        }
        return;
      case PNG_COLOR_TYPE_GRAY_ALPHA:
        for (uint32_t x = 0; x < width_; ++x, row += 2, out += 3) {
          std::memset(out, OverWhite(row[0], row[1]), 3);
        }
        return;
      default:  // RGB and alpha
        for (uint32_t x = 0; x < width_; ++x, row += 4, out += 3) OverWhite(row, out);
        return;
    }
  }

 private:
  const uint32_t width_;
  const int depth_, type_;
  std::array<std::array<uint8_t, 3>, 256> colors_{};  // of an index or a grey value
  std::optional<std::array<uint8_t, 3>> transparent_;
};

bool IsKnownKind(int color_type, int depth) {
  switch (color_type) {
    case PNG_COLOR_TYPE_GRAY:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case PNG_COLOR_TYPE_PALETTE:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case PNG_COLOR_TYPE_RGB:
    case PNG_COLOR_TYPE_GRAY_ALPHA:
    case PNG_COLOR_TYPE_RGB_ALPHA:
      return depth == 8 || depth == 16;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<ImageHeader> ProbePng(absl::string_view bytes) {
  if (!Has(bytes, 8, 25) || bytes.substr(12, 4) != "IHDR") {
    return CorruptImage("PNG", "it has no header chunk");
  }
  return ImageHeader{ImageFormat::kPng, Be32(bytes, 16), Be32(bytes, 20)};
}

absl::StatusOr<DecodedImage> DecodePng(absl::string_view bytes, const ImageLimits& limits) {
  absl::StatusOr<PngChunks> chunks = ReadPngChunks(bytes);
  if (!chunks.ok()) return chunks.status();
  if (absl::Status status =
          CheckImageLimits({ImageFormat::kPng, chunks->width, chunks->height}, limits);
      !status.ok()) {
    return status;
  }
  if (!IsKnownKind(chunks->color_type, chunks->depth)) {
    return CorruptImage(
        "PNG", absl::StrCat("colour type ", chunks->color_type, " with ", chunks->depth, " bits"));
  }
  PngReader reader(bytes);
  if (!reader.Start(limits)) return reader.error();
  if (!reader.Agrees(*chunks)) return CorruptImage("PNG", "it has more than one header chunk");

  const int width = static_cast<int>(chunks->width), height = static_cast<int>(chunks->height);
  const RowConverter converter(*chunks);
  DecodedImage result{RgbImage(width, height), Orientation(chunks->exif, chunks->xmp)};
  const size_t row_bytes = reader.row_bytes();
  std::vector<uint8_t> raw(row_bytes * (reader.interlaced() ? static_cast<size_t>(height) : 1));
  if (reader.interlaced()) {
    std::vector<uint8_t*> rows(static_cast<size_t>(height));
    for (size_t y = 0; y < rows.size(); ++y) rows[y] = raw.data() + row_bytes * y;
    if (!reader.ReadRows(rows)) return reader.error();
    for (int y = 0; y < height; ++y) converter.Convert(rows[y], result.pixels.row(y));
  } else {
    for (int y = 0; y < height; ++y) {
      if (!reader.ReadRow(raw.data())) return reader.error();
      converter.Convert(raw.data(), result.pixels.row(y));
    }
  }
  return result;
}

}  // namespace imagesearch::encoder
