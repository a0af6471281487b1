// JPEG by libjpeg-turbo.
#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "encoder/image/byte_reader.h"
#include "encoder/image/formats.h"
#include "encoder/image/orientation.h"
#include "encoder/image/pixel_math.h"

// After <cstdio>, which they need.
#include <jerror.h>
#include <jpeglib.h>

namespace imagesearch::encoder {
namespace {

// A progressive file may ask for any number of passes over the whole image.
constexpr int kMaxScans = 500;
constexpr double kMaxCpuSeconds = 1.0;
constexpr long kMaxDecoderMemory = 512L << 20;

double ThreadCpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// libjpeg reports errors by not returning: its functions are called only between setjmp() in Run()
// and the end of a step, and a step owns nothing that has a destructor.
class JpegReader {
 public:
  explicit JpegReader(absl::string_view bytes) : bytes_(bytes) {
    info_.err = jpeg_std_error(&errors_);
    errors_.error_exit = [](j_common_ptr info) { Self(info)->Fail(info); };
    errors_.output_message = [](j_common_ptr) {};
    errors_.emit_message = [](j_common_ptr info, int level) {
      if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) Self(info)->Fail(info);
    };
    info_.client_data = this;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Reads everything before the first scan. Steps are false when libjpeg gave up: see error().
  bool ReadHeader() {
    return Run([](JpegReader& self) {
      jpeg_create_decompress(&self.info_);
      self.info_.mem->max_memory_to_use = kMaxDecoderMemory;
      jpeg_mem_src(&self.info_, reinterpret_cast<const unsigned char*>(self.bytes_.data()),
                   self.bytes_.size());
      jpeg_save_markers(&self.info_, JPEG_APP0 + 1, 0xFFFF);
      jpeg_read_header(&self.info_, TRUE);
    });
  }

  // Sets the scale, and so the output size.
  bool SetScale(int scale) {
    scale_ = static_cast<unsigned>(scale);
    return Run([](JpegReader& self) {
      jpeg_decompress_struct& info = self.info_;
      info.scale_num = 1;
      info.scale_denom = self.scale_;
      info.out_color_space = info.num_components == 4 ? JCS_CMYK : JCS_RGB;
      jpeg_calc_output_dimensions(&info);
    });
  }

  // Decodes into `pixels`, rows of `stride` bytes; RGB, or CMYK where the file has four components
  // (`cmyk` then has room for one row of it).
  bool ReadPixels(uint8_t* pixels, size_t stride, uint8_t* cmyk) {
    pixels_ = pixels;
    stride_ = stride;
    cmyk_ = cmyk;
    progress_.progress_monitor = [](j_common_ptr info) { Self(info)->CheckBudget(info); };
    cpu_limit_ = ThreadCpuSeconds() + kMaxCpuSeconds;
    return Run([](JpegReader& self) {
      jpeg_decompress_struct& info = self.info_;
      info.progress = &self.progress_;
      jpeg_start_decompress(&info);
      while (info.output_scanline < info.output_height) {
        uint8_t* row = self.pixels_ + self.stride_ * info.output_scanline;
        uint8_t* into = self.cmyk_ != nullptr ? self.cmyk_ : row;
        jpeg_read_scanlines(&info, &into, 1);
        if (self.cmyk_ != nullptr) self.InvertedCmykToRgb(row);
      }
      // Also notices that the end marker is missing.
      jpeg_finish_decompress(&info);
    });
  }

  const jpeg_decompress_struct& info() const { return info_; }

  absl::Status error() {
    if (too_slow_) {
      return InvalidArgument("IMAGE_TOO_LARGE",
                             absl::StrCat("the JPEG image takes too long to decode: more than ",
                                          kMaxScans, " scans or ", kMaxCpuSeconds, " s"));
    }
    if (errors_.msg_code == JERR_NO_BACKING_STORE || errors_.msg_code == JERR_OUT_OF_MEMORY) {
      return InvalidArgument("IMAGE_TOO_LARGE", "the JPEG image takes more than 512 MiB to decode");
    }
    return CorruptImage("JPEG", message_);
  }

 private:
  static JpegReader* Self(j_common_ptr info) { return static_cast<JpegReader*>(info->client_data); }

  bool Run(void (*step)(JpegReader&)) {
    if (setjmp(jump_) != 0) return false;
    step(*this);
    return true;
  }

  [[noreturn]] void Fail(j_common_ptr info) {
    info->err->format_message(info, message_);
    std::longjmp(jump_, 1);
  }

  void CheckBudget(j_common_ptr info) {
    if (!info_.buffered_image && info_.input_scan_number <= kMaxScans &&
        (++checks_ % 16 != 0 || ThreadCpuSeconds() < cpu_limit_)) {
      return;
    }
    too_slow_ = true;
    std::longjmp(jump_, 1);
  }

  // Adobe writes CMYK inverted, and Pillow assumes that everybody does.
  void InvertedCmykToRgb(uint8_t* rgb) const {
    const uint8_t* in = cmyk_;
    for (unsigned x = 0; x < info_.output_width; ++x, in += 4, rgb += 3) {
      const int white = in[3];  // 255 - K
      for (int i = 0; i < 3; ++i) {
        rgb[i] = static_cast<uint8_t>(std::clamp(white - MulDiv255(255 - in[i], white), 0, 255));
      }
    }
  }

  const absl::string_view bytes_;
  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_;
  char message_[JMSG_LENGTH_MAX] = "";
  unsigned scale_ = 1;
  uint8_t* pixels_ = nullptr;
  size_t stride_ = 0;
  uint8_t* cmyk_ = nullptr;
  double cpu_limit_ = 0;
  unsigned checks_ = 0;
  bool too_slow_ = false;
};

int OrientationOf(const jpeg_decompress_struct& info) {
  constexpr absl::string_view kExif("Exif\0\0", 6);
  constexpr absl::string_view kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  std::string exif, xmp;
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const absl::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (absl::StartsWith(data, kExif)) {
      absl::StrAppend(&exif, data.substr(exif.empty() ? 0 : kExif.size()));
    } else if (absl::StartsWith(data, kXmp)) {
      xmp = std::string(data.substr(kXmp.size()));
    }
  }
  return Orientation(exif, xmp);
}

}  // namespace

absl::StatusOr<ImageHeader> ProbeJpeg(absl::string_view bytes) {
  // Walks the marker segments to the frame header, as libjpeg does: between segments anything but
  // 0xFF is skipped.
  size_t at = 2;
  while (true) {
    while (at < bytes.size() && ByteAt(bytes, at) != 0xFF) ++at;
    while (at < bytes.size() && ByteAt(bytes, at) == 0xFF) ++at;
    if (!Has(bytes, at, 3)) return CorruptImage("JPEG", "it has no frame header");
    const uint8_t marker = ByteAt(bytes, at++);
    const bool stands_alone = marker == 0 || marker == 1 || (marker >= 0xD0 && marker <= 0xD8);
    if (stands_alone) continue;
    const bool frame =
        marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (frame) {
      if (!Has(bytes, at, 7)) return CorruptImage("JPEG", "it ends in its frame header");
      return ImageHeader{ImageFormat::kJpeg, Be16(bytes, at + 5), Be16(bytes, at + 3)};
    }
    if (marker == 0xD9 || marker == 0xDA) return CorruptImage("JPEG", "it has no frame header");
    at += std::max<size_t>(Be16(bytes, at), 2);
  }
}

absl::StatusOr<DecodedImage> DecodeJpeg(absl::string_view bytes, const ImageLimits& limits,
                                        const std::function<int(const ImageHeader&)>& scale_for) {
  JpegReader reader(bytes);
  if (!reader.ReadHeader()) return reader.error();
  const jpeg_decompress_struct& info = reader.info();
  const ImageHeader header = {ImageFormat::kJpeg, info.image_width, info.image_height};
  if (absl::Status status = CheckImageLimits(header, limits); !status.ok()) return status;
  if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4) {
    return UnsupportedImage("JPEG", absl::StrCat(info.num_components, " colour components"));
  }
  if (!reader.SetScale(scale_for(header))) return reader.error();

  DecodedImage result;
  result.orientation = OrientationOf(info);
  result.pixels =
      RgbImage(static_cast<int>(info.output_width), static_cast<int>(info.output_height));
  std::vector<uint8_t> cmyk(info.num_components == 4 ? size_t{4} * info.output_width : 0);
  if (!reader.ReadPixels(result.pixels.data.data(), size_t{3} * info.output_width,
                         cmyk.empty() ? nullptr : cmyk.data())) {
    return reader.error();
  }
  return result;
}

}  // namespace imagesearch::encoder
