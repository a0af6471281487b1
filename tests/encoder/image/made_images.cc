// Encoders for tests.
#include "tests/encoder/image/made_images.h"

#include <jpeglib.h>
#include <webp/encode.h>
#include <zlib.h>

#include <cstdio>
#include <cstdlib>

namespace imagesearch::encoder {

RgbImage Gradient(int width, int height) {
  RgbImage image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = image.row(y) + size_t{3} * x;
      pixel[0] = static_cast<uint8_t>(width == 1 ? 0 : 255 * x / (width - 1));
      pixel[1] = static_cast<uint8_t>(height == 1 ? 0 : 255 * y / (height - 1));
      pixel[2] = 100;
    }
  }
  return image;
}

std::string LeBytes(uint32_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) {
    bytes.push_back(i < 4 ? static_cast<char>(value >> (8 * i)) : '\0');
  }
  return bytes;
}

std::string Be32Bytes(uint32_t value) {
  const std::string bytes = LeBytes(value, 4);
  return {bytes.rbegin(), bytes.rend()};
}

std::string MakeJpeg(const RgbImage& image, const JpegMaking& making) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = making.cmyk ? 4 : 3;
  info.in_color_space = making.cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, making.quality, TRUE);
  if (making.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  for (const std::string& body : making.app1) {
    jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(body.data()),
                      static_cast<unsigned>(body.size()));
  }
  std::vector<uint8_t> row(static_cast<size_t>(image.width * info.input_components));
  while (info.next_scanline < info.image_height) {
    const uint8_t* from = image.view().row(static_cast<int>(info.next_scanline));
    for (size_t x = 0; x < static_cast<size_t>(image.width); ++x) {
      const size_t step = static_cast<size_t>(info.input_components);
      for (size_t c = 0; c < 3; ++c) row[step * x + c] = from[3 * x + c];
      if (making.cmyk) row[step * x + 3] = 255;
    }
    JSAMPROW rows[] = {row.data()};
    jpeg_write_scanlines(&info, rows, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string bytes(reinterpret_cast<char*>(buffer), size);
  std::free(buffer);
  return bytes;
}

std::string Exif(int orientation, bool tiff_only) {
  std::string tiff("II*\0\x08\0\0\0\x01\0", 10);
  tiff += LeBytes(0x112, 2) + LeBytes(3, 2) + LeBytes(1, 4) +
          LeBytes(static_cast<uint32_t>(orientation), 4) + LeBytes(0, 4);
  return tiff_only ? tiff : std::string("Exif\0\0", 6) + tiff;
}

std::string PngChunk(const std::string& name, const std::string& body) {
  const std::string named = name + body;
  const auto sum =
      crc32(0, reinterpret_cast<const Bytef*>(named.data()), static_cast<uInt>(named.size()));
  return Be32Bytes(static_cast<uint32_t>(body.size())) + named +
         Be32Bytes(static_cast<uint32_t>(sum));
}

std::string MakePng(const RgbImage& image, int alpha,
                    const std::vector<std::pair<std::string, std::string>>& chunks) {
  std::string raw;
  for (int y = 0; y < image.height; ++y) {
    raw.push_back(0);
    for (int x = 0; x < image.width; ++x) {
      raw.append(reinterpret_cast<const char*>(image.view().row(y)) + 3 * x, 3);
      if (alpha >= 0) raw.push_back(static_cast<char>(alpha));
    }
  }
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(raw.data()), static_cast<uLong>(raw.size()));
  packed.resize(size);
  std::string bytes("\x89PNG\r\n\x1a\n");
  bytes += PngChunk("IHDR", Be32Bytes(static_cast<uint32_t>(image.width)) +
                                Be32Bytes(static_cast<uint32_t>(image.height)) +
                                std::string{8, static_cast<char>(alpha >= 0 ? 6 : 2), 0, 0, 0});
  for (const auto& [name, body] : chunks) bytes += PngChunk(name, body);
  return bytes + PngChunk("IDAT", packed) + PngChunk("IEND", "");
}

std::string MakeWebp(const RgbImage& image) {
  uint8_t* out = nullptr;
  const size_t size =
      WebPEncodeLosslessRGB(image.data.data(), image.width, image.height, 3 * image.width, &out);
  std::string bytes(reinterpret_cast<char*>(out), size);
  WebPFree(out);
  return bytes;
}

std::string MakeGif(int canvas_width, int canvas_height, int left, int top, int width, int height,
                    const std::vector<uint8_t>& indices, int transparent) {
  const auto le16 = [](int value) { return LeBytes(static_cast<uint32_t>(value), 2); };
  std::string bytes("GIF89a");
  bytes += le16(canvas_width) + le16(canvas_height) + "\x81" + LeBytes(0, 2);
  for (int i = 0; i < 4; ++i) bytes.append(3, static_cast<char>(60 * i + 10));
  if (transparent >= 0) {
    bytes += std::string("!\xF9\x04\x01\0\0", 6) + static_cast<char>(transparent) + '\0';
  }
  bytes.push_back(',');
  bytes += le16(left) + le16(top) + le16(width) + le16(height) + '\0';
  // Two-bit literals in codes of three bits; a clear code (4) before each keeps them three bits
  // wide.
  std::vector<int> codes;
  for (uint8_t index : indices) {
    codes.push_back(4);
    codes.push_back(index);
  }
  codes.push_back(5);
  std::string packed;
  unsigned bits = 0;
  int count = 0;
  for (int code : codes) {
    bits |= static_cast<unsigned>(code) << count;
    for (count += 3; count >= 8; count -= 8, bits >>= 8) packed.push_back(static_cast<char>(bits));
  }
  if (count > 0) packed.push_back(static_cast<char>(bits));
  bytes.push_back(2);
  for (size_t at = 0; at < packed.size(); at += 255) {
    const std::string block = packed.substr(at, 255);
    bytes += static_cast<char>(block.size()) + block;
  }
  return bytes + '\0' + ";";
}

std::string MakeBmp(int width, int height, int bits, int compression, const std::string& palette,
                    const std::string& pixels) {
  const auto offset = static_cast<uint32_t>(54 + palette.size());
  return std::string("BM") + LeBytes(offset + static_cast<uint32_t>(pixels.size()), 4) +
         LeBytes(0, 4) + LeBytes(offset, 4) + LeBytes(40, 4) +
         LeBytes(static_cast<uint32_t>(width), 4) + LeBytes(static_cast<uint32_t>(height), 4) +
         LeBytes(1, 2) + LeBytes(static_cast<uint32_t>(bits), 2) +
         LeBytes(static_cast<uint32_t>(compression), 4) + LeBytes(0, 12) +
         LeBytes(static_cast<uint32_t>(palette.size() / 4), 4) + LeBytes(0, 4) + palette + pixels;
}

std::string MakeBmp(const RgbImage& image) {
  std::string pixels;
  for (int y = image.height - 1; y >= 0; --y) {
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* pixel = image.view().row(y) + 3 * x;
      for (int c = 2; c >= 0; --c) pixels.push_back(static_cast<char>(pixel[c]));
    }
    pixels.append(static_cast<size_t>((4 - 3 * image.width % 4) % 4), '\0');
  }
  return MakeBmp(image.width, image.height, 24, 0, "", pixels);
}

}  // namespace imagesearch::encoder
