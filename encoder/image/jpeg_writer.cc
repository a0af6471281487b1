// Baseline JPEG over libjpeg-turbo.
#include "encoder/image/jpeg_writer.h"

#include <jpeglib.h>

#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace imagesearch::encoder {
namespace {

struct ErrorHandler {
  jpeg_error_mgr manager;
  std::jmp_buf escape;
};

void Escape(j_common_ptr info) {
  std::longjmp(reinterpret_cast<ErrorHandler*>(info->err)->escape, 1);
}

void Ignore(j_common_ptr) {}

// Holds no object with a destructor: libjpeg reports errors by longjmp.
bool Encode(const RgbImage& pixels, int quality, ErrorHandler* handler, jpeg_compress_struct* out,
            unsigned char** data, unsigned long* size) {
  if (setjmp(handler->escape)) return false;
  jpeg_mem_dest(out, data, size);
  out->image_width = pixels.width;
  out->image_height = pixels.height;
  out->input_components = 3;
  out->in_color_space = JCS_RGB;
  jpeg_set_defaults(out);
  jpeg_set_quality(out, quality, TRUE);
  jpeg_start_compress(out, TRUE);
  const RgbView view = pixels.view();
  while (out->next_scanline < out->image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(view.row(static_cast<int>(out->next_scanline)));
    jpeg_write_scanlines(out, &row, 1);
  }
  jpeg_finish_compress(out);
  return true;
}

}  // namespace

std::string WriteJpeg(const RgbImage& pixels, int quality) {
  ErrorHandler handler;
  jpeg_compress_struct out;
  out.err = jpeg_std_error(&handler.manager);
  handler.manager.error_exit = Escape;
  handler.manager.output_message = Ignore;
  jpeg_create_compress(&out);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  const bool ok = Encode(pixels, quality, &handler, &out, &data, &size);
  jpeg_destroy_compress(&out);
  std::string bytes;
  if (ok) bytes.assign(reinterpret_cast<const char*>(data), size);
  std::free(data);
  return bytes;
}

}  // namespace imagesearch::encoder
