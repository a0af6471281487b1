// WebP by libwebp: lossy, lossless, with alpha; of an animation the first frame on its canvas.
#include <cstdint>
#include <memory>
#include <vector>

#include "encoder/image/formats.h"
#include "encoder/image/orientation.h"
#include "encoder/image/pixel_math.h"
#include "webp/decode.h"
#include "webp/demux.h"

namespace imagesearch::encoder {
namespace {

struct Delete {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
  void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

const uint8_t* Bytes(absl::string_view bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

// The first chunk of that name; empty when there is none. Points into the file.
absl::string_view Chunk(const WebPDemuxer* demuxer, const char* name) {
  WebPChunkIterator chunk;
  if (WebPDemuxGetChunk(demuxer, name, 1, &chunk) == 0) return {};
  const absl::string_view data(reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size);
  WebPDemuxReleaseChunkIterator(&chunk);
  return data;
}

void LayOverWhite(const uint8_t* rgba, RgbImage& out) {
  uint8_t* to = out.data.data();
  for (const uint8_t* end = to + out.data.size(); to != end; rgba += 4, to += 3) {
    OverWhite(rgba, to);
  }
}

}  // namespace

absl::StatusOr<ImageHeader> ProbeWebp(absl::string_view bytes) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(Bytes(bytes), bytes.size(), &features) != VP8_STATUS_OK) {
    return CorruptImage("WebP", "its header can't be read");
  }
  return ImageHeader{ImageFormat::kWebp, static_cast<uint32_t>(features.width),
                     static_cast<uint32_t>(features.height)};
}

absl::StatusOr<DecodedImage> DecodeWebp(absl::string_view bytes, const ImageLimits& limits) {
  const WebPData data = {Bytes(bytes), bytes.size()};
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data.bytes, data.size, &features) != VP8_STATUS_OK) {
    return CorruptImage("WebP", "its header can't be read");
  }
  const std::unique_ptr<WebPDemuxer, Delete> demuxer(WebPDemux(&data));
  if (demuxer == nullptr) return CorruptImage("WebP", "it is cut, or its chunks don't add up");
  const uint32_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  const uint32_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  if (absl::Status status = CheckImageLimits({ImageFormat::kWebp, width, height}, limits);
      !status.ok()) {
    return status;
  }
  if (width == 0 || height == 0) return CorruptImage("WebP", "its canvas is empty");

  DecodedImage result{RgbImage(static_cast<int>(width), static_cast<int>(height)),
                      Orientation(Chunk(demuxer.get(), "EXIF"), Chunk(demuxer.get(), "XMP "))};
  RgbImage& pixels = result.pixels;
  const bool animated = (WebPDemuxGetI(demuxer.get(), WEBP_FF_FORMAT_FLAGS) & ANIMATION_FLAG) != 0;
  if (animated) {
    WebPAnimDecoderOptions options;
    WebPAnimDecoderOptionsInit(&options);
    options.color_mode = MODE_RGBA;
    const std::unique_ptr<WebPAnimDecoder, Delete> decoder(WebPAnimDecoderNew(&data, &options));
    uint8_t* canvas = nullptr;
    int timestamp = 0;
    if (decoder == nullptr || WebPAnimDecoderGetNext(decoder.get(), &canvas, &timestamp) == 0) {
      return CorruptImage("WebP", "its first frame can't be decoded");
    }
    if (features.has_alpha) {
      LayOverWhite(canvas, pixels);
    } else {
      uint8_t* to = pixels.data.data();
      for (const uint8_t* end = to + pixels.data.size(); to != end; to += 3, canvas += 4) {
        to[0] = canvas[0];
        to[1] = canvas[1];
        to[2] = canvas[2];
      }
    }
    return result;
  }
  if (static_cast<uint32_t>(features.width) != width ||
      static_cast<uint32_t>(features.height) != height) {
    return CorruptImage("WebP", "its image and its canvas differ in size");
  }
  const uint8_t* decoded = nullptr;
  if (features.has_alpha) {
    std::vector<uint8_t> rgba(size_t{4} * width * height);
    decoded = WebPDecodeRGBAInto(data.bytes, data.size, rgba.data(), rgba.size(),
                                 static_cast<int>(4 * width));
    if (decoded != nullptr) LayOverWhite(rgba.data(), pixels);
  } else {
    decoded = WebPDecodeRGBInto(data.bytes, data.size, pixels.data.data(), pixels.data.size(),
                                static_cast<int>(3 * width));
  }
  if (decoded == nullptr) return CorruptImage("WebP", "its pixels can't be decoded");
  return result;
}

}  // namespace imagesearch::encoder
