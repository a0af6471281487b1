// From file bytes to pixels: formats, orientation, transparency, limits, damage. The comparison
// with Pillow is in tests/reference.
#include "encoder/image/preprocess.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "encoder/image/header.h"
#include "tests/encoder/image/made_images.h"

namespace imagesearch::encoder {
namespace {

PixelOptions Options(int size) {
  PixelOptions options;
  options.resize_size = options.crop_size = size;
  options.scaled_jpeg_decode = false;
  return options;
}

std::string ReasonFor(const std::string& bytes, const PixelOptions& options = Options(8)) {
  const auto pixels = LoadPixels(bytes, options);
  if (pixels.ok()) return "OK";
  EXPECT_EQ(pixels.status().code(), absl::StatusCode::kInvalidArgument) << pixels.status();
  return ReasonOf(pixels.status());
}

// The largest difference of any channel.
int Difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  EXPECT_EQ(a.size(), b.size());
  int largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]));
  }
  return largest;
}

std::vector<uint8_t> Load(const std::string& bytes, const PixelOptions& options) {
  auto pixels = LoadPixels(bytes, options);
  EXPECT_TRUE(pixels.ok()) << pixels.status();
  return pixels.ok() ? *pixels : std::vector<uint8_t>();
}

TEST(LoadPixelsTest, EveryFormatGivesThePixelsThatWentIn) {
  const RgbImage image = Gradient(32, 32);
  EXPECT_EQ(Load(MakePng(image), Options(32)), image.data);
  EXPECT_EQ(Load(MakeBmp(image), Options(32)), image.data);
  EXPECT_EQ(Load(MakeWebp(image), Options(32)), image.data);
  EXPECT_LE(Difference(Load(MakeJpeg(image), Options(32)), image.data), 24);
  EXPECT_LE(Difference(Load(MakeJpeg(image, {.progressive = true}), Options(32)), image.data), 24);
}

TEST(LoadPixelsTest, AdobesInvertedCmykGivesTheRightColours) {
  RgbImage image(16, 16);
  for (size_t i = 0; i < image.data.size(); i += 3) {
    image.data[i] = 200, image.data[i + 1] = 100, image.data[i + 2] = 30;
  }
  EXPECT_LE(Difference(Load(MakeJpeg(image, {.cmyk = true}), Options(16)), image.data), 3);
}

TEST(LoadPixelsTest, TransparencyLiesOverWhite) {
  RgbImage black(4, 4);
  EXPECT_THAT(Load(MakePng(black, 0), Options(4)), ::testing::Each(255));
  EXPECT_THAT(Load(MakePng(black, 255), Options(4)), ::testing::Each(0));
  EXPECT_THAT(Load(MakePng(black, 128), Options(4)), ::testing::Each(127));
}

TEST(LoadPixelsTest, AGifFrameLiesOnItsCanvas) {
  // Colour 3 is 190; what the frame leaves free is colour 0, grey 10.
  const std::vector<uint8_t> pixels = Load(MakeGif(4, 4, 1, 1, 2, 2, {3, 3, 3, 1}), Options(4));
  EXPECT_EQ(pixels[0], 10);
  EXPECT_EQ(pixels[3 * (1 * 4 + 1)], 190);
  EXPECT_EQ(pixels[3 * (2 * 4 + 2)], 70);
  // A transparent colour is white, inside the frame and around it.
  const std::vector<uint8_t> clear = Load(MakeGif(4, 4, 1, 1, 2, 2, {3, 3, 3, 1}, 1), Options(4));
  EXPECT_EQ(clear[0], 255);
  EXPECT_EQ(clear[3 * (1 * 4 + 1)], 190);
  EXPECT_EQ(clear[3 * (2 * 4 + 2)], 255);
}

TEST(LoadPixelsTest, AGifFrameLargerThanItsCanvasMakesTheCanvasGrow) {
  EXPECT_EQ(Load(MakeGif(0, 0, 0, 0, 2, 2, {3, 3, 3, 3}), Options(2))[0], 190);
}

TEST(LoadPixelsTest, EveryExifOrientationTurnsTheImageUpright) {
  // Where the upright image's top left pixel comes from.
  const RgbImage image = Gradient(16, 16);
  const auto corner = [&image](bool right, bool bottom) {
    const uint8_t* pixel = image.view().row(bottom ? 15 : 0) + (right ? 45 : 0);
    return std::vector<uint8_t>(pixel, pixel + 3);
  };
  const std::vector<std::vector<uint8_t>> top_left = {
      corner(false, false), corner(true, false), corner(true, true), corner(false, true),
      corner(false, false), corner(false, true), corner(true, true), corner(true, false)};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const std::string png = MakePng(image, -1, {{"eXIf", Exif(orientation, /*tiff_only=*/true)}});
    const std::vector<uint8_t> pixels = Load(png, Options(16));
    EXPECT_EQ(std::vector<uint8_t>(pixels.begin(), pixels.begin() + 3),
              top_left[static_cast<size_t>(orientation - 1)])
        << orientation;
    // Rows become columns from 5 on.
    EXPECT_EQ(pixels[0] == pixels[3], orientation >= 5) << orientation;
    const std::vector<uint8_t> jpeg =
        Load(MakeJpeg(image, {.app1 = {Exif(orientation)}}), Options(16));
    EXPECT_LE(Difference(jpeg, pixels), 40) << orientation;
  }
}

TEST(LoadPixelsTest, ATurnedImageThatIsNotSquareKeepsItsAspect) {
  // 40 x 20 upright is 20 x 40; its centre square shows the middle of the long side.
  const std::string png = MakePng(Gradient(40, 20), -1, {{"eXIf", Exif(6, true)}});
  const std::vector<uint8_t> pixels = Load(png, Options(20));
  EXPECT_EQ(pixels.size(), 20u * 20 * 3);
  EXPECT_NEAR(pixels[0], 255 * 10 / 39, 2);
}

TEST(LoadPixelsTest, XmpOrientationCountsWhereThereIsNoExif) {
  const std::string xmp = "http://ns.adobe.com/xap/1.0/";
  const std::string packet = xmp + '\0' + "<x tiff:Orientation=\"3\"/>";
  const RgbImage image = Gradient(16, 16);
  const std::vector<uint8_t> turned = Load(MakeJpeg(image, {.app1 = {packet}}), Options(16));
  const std::vector<uint8_t> wanted =
      Load(MakePng(image, -1, {{"eXIf", Exif(3, true)}}), Options(16));
  EXPECT_LE(Difference(turned, wanted), 24);
}

TEST(LoadPixelsTest, BrokenExifIsIgnored) {
  const RgbImage image = Gradient(16, 16);
  const std::string whole = Exif(6);
  for (const std::string& exif :
       {std::string("Exif\0\0", 6), std::string("Exif\0\0rubbish", 13), whole.substr(0, 12),
        whole.substr(0, 20), std::string("Exif\0\0II*\0\xff\xff\xff\xff", 14), Exif(0), Exif(9),
        Exif(-1)}) {
    EXPECT_EQ(Load(MakePng(image, -1, {{"eXIf", exif}}), Options(16)), image.data);
  }
}

TEST(LoadPixelsTest, WhatFollowsTheImageIsIgnored) {
  const RgbImage image = Gradient(9, 9);
  for (const std::string& bytes : {MakePng(image), MakeBmp(image), MakeJpeg(image), MakeWebp(image),
                                   MakeGif(2, 2, 0, 0, 2, 2, {1, 2, 3, 0})}) {
    EXPECT_EQ(Load(bytes + "PK\x03\x04 another file", Options(8)), Load(bytes, Options(8)));
  }
}

TEST(LoadPixelsTest, OtherFormatsAreRefusedByName) {
  for (const std::string& bytes :
       {std::string("<svg xmlns='http://www.w3.org/2000/svg'/>"), std::string("II*\0rest", 8),
        std::string("\0\0\0\x18"
                    "ftypheic",
                    12),
        std::string("%PDF-1.7"), std::string("x"), std::string("\xff\xd8"),
        std::string("RIFF\0\0\0\0WAVE", 12), std::string("GIF90a......"), std::string(1, '\0')}) {
    EXPECT_EQ(ReasonFor(bytes), "UNSUPPORTED_FORMAT") << bytes;
  }
  EXPECT_EQ(ReasonFor(""), "EMPTY_IMAGE");
}

TEST(LoadPixelsTest, EveryCutOfEveryFormatIsRefused) {
  const RgbImage image = Gradient(24, 24);
  const std::vector<std::string> files = {
      MakePng(image),  MakeBmp(image),
      MakeJpeg(image), MakeJpeg(image, {.progressive = true}),
      MakeWebp(image), MakeGif(6, 2, 0, 0, 6, 2, {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3})};
  for (const std::string& bytes : files) {
    // A PNG may lack its last chunk and a GIF its end: no pixel is in them.
    const size_t needed = bytes[1] == 'P'   ? bytes.size() - 16
                          : bytes[0] == 'G' ? bytes.size() - 4
                                            : bytes.size() - 1;
    for (size_t size = 1; size<needed; size += size> 200 ? 7 : 1) {
      EXPECT_NE(ReasonFor(bytes.substr(0, size)), "OK")
          << ProbeImage(bytes)->width << " cut to " << size << " of " << bytes.size();
    }
  }
}

TEST(LoadPixelsTest, ClaimsBeyondTheLimitsAreRefusedFromTheHeader) {
  const auto png = [](uint32_t width, uint32_t height) {
    return std::string("\x89PNG\r\n\x1a\n") +
           PngChunk("IHDR",
                    Be32Bytes(width) + Be32Bytes(height) + std::string("\x08\x02\0\0\0", 5)) +
           PngChunk("IDAT", "x");
  };
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(ReasonFor(png(100'000, 100'000)), "IMAGE_TOO_LARGE");
  EXPECT_EQ(ReasonFor(png(16'385, 1)), "IMAGE_TOO_LARGE");
  EXPECT_EQ(ReasonFor(png(10'000, 10'000)), "IMAGE_TOO_LARGE");
  EXPECT_EQ(ReasonFor(png(0, 10)), "CORRUPT_IMAGE");
  EXPECT_EQ(ReasonFor(MakeGif(65535, 65535, 0, 0, 1, 1, {0})), "IMAGE_TOO_LARGE");
  EXPECT_EQ(ReasonFor(MakeBmp(60'000, 60'000, 24, 0, "", "")), "IMAGE_TOO_LARGE");
  EXPECT_EQ(ReasonFor(MakeBmp(0, 5, 24, 0, "", "")), "CORRUPT_IMAGE");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(200));
  PixelOptions options = Options(8);
  options.limits.max_bytes = 100;
  EXPECT_EQ(ReasonFor(MakePng(Gradient(64, 64)), options), "IMAGE_TOO_LARGE");
  options = Options(8);
  options.limits.max_side = 64;
  EXPECT_EQ(ReasonFor(MakeJpeg(Gradient(65, 8)), options), "IMAGE_TOO_LARGE");
  EXPECT_EQ(ReasonFor(MakeJpeg(Gradient(64, 8)), options), "OK");
}

TEST(LoadPixelsTest, LongThinImagesStayCheap) {
  PixelOptions options;
  for (const auto& [width, height] : {std::pair(1, 16384), std::pair(16384, 1)}) {
    const std::vector<uint8_t> pixels = Load(MakePng(Gradient(width, height)), options);
    ASSERT_EQ(pixels.size(), size_t{224} * 224 * 3);
    // The middle of the long side.
    EXPECT_NEAR(pixels[(width == 1 ? 1 : 0)], 127, 2);
  }
  EXPECT_EQ(Load(MakePng(Gradient(1, 1)), options).size(), size_t{224} * 224 * 3);
}

TEST(LoadPixelsTest, ACropBoxThatIsNoneIsRefused) {
  const std::string png = MakePng(Gradient(16, 16));
  for (const CropBox& box :
       {CropBox{0.5, 0, 0.5, 1}, CropBox{-0.1f, 0, 1, 1}, CropBox{0, 0, 1, 1.1f},
        CropBox{0, 0.9f, 1, 0.1f}, CropBox{0, std::nanf(""), 1, 1}}) {
    PixelOptions options = Options(8);
    options.crop = box;
    EXPECT_EQ(ReasonFor(png, options), "BAD_CROP_BOX");
  }
  PixelOptions options = Options(8);
  options.crop = CropBox{0.9999f, 0.9999f, 1, 1};
  EXPECT_EQ(ReasonFor(png, options), "OK");
}

TEST(LoadPixelsTest, AWrongChecksumBeforeThePixelsIsRefused) {
  std::string png = MakePng(Gradient(8, 8), -1, {{"gAMA", Be32Bytes(45455)}});
  png[png.find("gAMA") + 9] ^= 1;
  EXPECT_EQ(ReasonFor(png), "CORRUPT_IMAGE");
  png = MakePng(Gradient(8, 8));
  png[23] ^= 1;  // the header's height
  EXPECT_EQ(ReasonFor(png), "CORRUPT_IMAGE");
}

TEST(LoadPixelsTest, DamagedPixelsOfAPngAreRefused) {
  std::string png = MakePng(Gradient(64, 64));
  png[png.find("IDAT") + 40] ^= 0x55;
  EXPECT_EQ(ReasonFor(png), "CORRUPT_IMAGE");
}

TEST(LoadPixelsTest, ATextBombInAPngIsRefused) {
  const std::string zeros(3 << 20, '\0');
  uLongf size = compressBound(static_cast<uLong>(zeros.size()));
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(zeros.data()), static_cast<uLong>(zeros.size()));
  packed.resize(size);
  EXPECT_EQ(ReasonFor(MakePng(Gradient(8, 8), -1, {{"zTXt", std::string("key\0\0", 5) + packed}})),
            "IMAGE_TOO_LARGE");
  // The same bytes as a colour profile are not unpacked at all.
  EXPECT_EQ(ReasonFor(MakePng(Gradient(8, 8), -1, {{"iCCP", std::string("icc\0\0", 5) + packed}})),
            "OK");
}

// Regression: a second header chunk behind the pixels once changed the size of the rows.
TEST(LoadPixelsTest, ASecondPngHeaderChangesNothing) {
  const RgbImage image = Gradient(8, 8);
  std::string png = MakePng(image);
  png.insert(png.size() - 12, PngChunk("IHDR", Be32Bytes(4000) + Be32Bytes(4000) +
                                                   std::string("\x10\x06\0\0\0", 5)));
  EXPECT_EQ(Load(png, Options(8)), image.data);
}

TEST(LoadPixelsTest, AProgressiveJpegOfManyScansIsRefused) {
  const std::string jpeg = MakeJpeg(RgbImage(1024, 1024), {.progressive = true});
  // The first scan (DC coefficients), over and over.
  const size_t scan = jpeg.find("\xff\xda");
  const size_t next = jpeg.find("\xff\xda", scan + 2);
  const size_t tables = jpeg.rfind("\xff\xc4", next);
  ASSERT_NE(next, std::string::npos);
  const std::string repeated = jpeg.substr(scan, (tables > scan ? tables : next) - scan);
  std::string bomb = jpeg.substr(0, scan);
  for (int i = 0; i < 600; ++i) bomb += repeated;
  ASSERT_LT(bomb.size(), PixelOptions().limits.max_bytes);
  bomb += "\xff\xd9";
  const auto start = std::chrono::steady_clock::now();
  const auto pixels = LoadPixels(bomb, Options(224));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));  // CPU is shared
  EXPECT_FALSE(pixels.ok());
  EXPECT_EQ(ReasonOf(pixels.status()), "IMAGE_TOO_LARGE") << pixels.status();
}

TEST(LoadPixelsTest, AGifWithoutAFrameIsRefused) {
  EXPECT_EQ(ReasonFor(std::string("GIF89a\x04\0\x04\0\0\0\0;", 14)), "CORRUPT_IMAGE");
  EXPECT_EQ(ReasonFor(std::string("GIF89a\x04\0\x04\0\0\0\0", 13)), "CORRUPT_IMAGE");
  EXPECT_EQ(ReasonFor(MakeGif(4, 4, 0, 0, 0, 4, {})), "CORRUPT_IMAGE");
}

TEST(LoadPixelsTest, AGifCodeThatIsNotDefinedYetIsRefused) {
  std::string gif = MakeGif(4, 4, 0, 0, 4, 4, std::vector<uint8_t>(16, 1));
  const size_t data = gif.size() - 2 - 13;
  for (int i = 0; i < 256; ++i) {
    gif[data + 1] = static_cast<char>(i);
    const std::string reason = ReasonFor(gif);
    EXPECT_TRUE(reason == "OK" || reason == "CORRUPT_IMAGE") << reason;
  }
}

TEST(LoadPixelsTest, RunLengthCodedBmpsStayInsideTheImage) {
  const std::string palette(1024, '\x40');
  // Runs beyond the row, a jump beyond the image, literals beyond the data.
  EXPECT_EQ(ReasonFor(MakeBmp(4, 2, 8, 1, palette, std::string("\xff\x01\0\0\xff\x02\0\1", 8))),
            "OK");
  EXPECT_EQ(ReasonFor(MakeBmp(4, 2, 8, 1, palette, std::string("\0\2\xff\xff", 4))), "OK");
  EXPECT_EQ(ReasonFor(MakeBmp(4, 2, 8, 1, palette, std::string("\0\xff\1\2", 4))), "CORRUPT_IMAGE");
  EXPECT_EQ(ReasonFor(MakeBmp(4, 2, 8, 1, palette, std::string("\0\1", 2))), "CORRUPT_IMAGE");
  EXPECT_EQ(ReasonFor(MakeBmp(4, 2, 8, 1, palette, "")), "CORRUPT_IMAGE");
  EXPECT_EQ(ReasonFor(MakeBmp(4, 2, 24, 1, "", std::string(100, '\1'))), "CORRUPT_IMAGE");
}

TEST(LoadPixelsTest, ScaledDecodingOfALargeJpegStaysClose) {
  const RgbImage image = Gradient(1024, 1024);
  const std::string jpeg = MakeJpeg(image);
  PixelOptions scaled = Options(64);
  scaled.scaled_jpeg_decode = true;
  EXPECT_LE(Difference(Load(jpeg, scaled), Load(jpeg, Options(64))), 4);
}

}  // namespace
}  // namespace imagesearch::encoder
