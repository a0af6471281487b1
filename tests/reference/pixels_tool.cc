// Makes the pixels of image files ready for a tower, for comparison with Pillow.
// Usage: pixels_tool RESIZE CROP RESAMPLE shortest|exact full|scaled LIST OUT [LEFT TOP RIGHT
// BOTTOM] LIST holds a path a line; OUT gets, for each, a code (0: pixels follow, else the status
// code), the number of bytes that follow and those bytes: the pixels, or the reason. Numbers are
// little-endian int32.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.h"
#include "encoder/image/preprocess.h"

namespace {

void Write(std::ostream& out, int32_t code, const void* data, size_t size) {
  const int32_t numbers[] = {code, static_cast<int32_t>(size)};
  out.write(reinterpret_cast<const char*>(numbers), sizeof(numbers));
  out.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
}

}  // namespace

int main(int argc, char** argv) {
  using imagesearch::encoder::PixelOptions;
  if (argc != 8 && argc != 12) {
    std::cerr << "usage: pixels_tool RESIZE CROP RESAMPLE shortest|exact full|scaled LIST OUT "
                 "[LEFT TOP RIGHT BOTTOM]\n";
    return 2;
  }
  PixelOptions options;
  options.resize_size = std::atoi(argv[1]);
  options.crop_size = std::atoi(argv[2]);
  options.resample = static_cast<imagesearch::encoder::Resample>(std::atoi(argv[3]));
  options.resize_mode = std::string(argv[4]) == "exact" ? PixelOptions::ResizeMode::kExact
                                                        : PixelOptions::ResizeMode::kShortestEdge;
  options.scaled_jpeg_decode = std::string(argv[5]) == "scaled";
  if (argc == 12) {
    options.crop = imagesearch::encoder::CropBox{
        static_cast<float>(std::atof(argv[8])), static_cast<float>(std::atof(argv[9])),
        static_cast<float>(std::atof(argv[10])), static_cast<float>(std::atof(argv[11]))};
  }
  std::ifstream list(argv[6]);
  std::ofstream out(argv[7], std::ios::binary);
  for (std::string path; std::getline(list, path);) {
    std::ifstream in(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const absl::StatusOr<std::vector<uint8_t>> pixels =
        imagesearch::encoder::LoadPixels(bytes, options);
    if (pixels.ok()) {
      Write(out, 0, pixels->data(), pixels->size());
    } else {
      const std::string reason = imagesearch::ReasonOf(pixels.status());
      Write(out, static_cast<int32_t>(pixels.status().code()), reason.data(), reason.size());
    }
  }
  return out.flush() ? 0 : 1;
}
