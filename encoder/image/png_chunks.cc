// A walk over length, name, body and checksum.
#include "encoder/image/png_chunks.h"

#include <zlib.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "encoder/image/byte_reader.h"
#include "encoder/image/formats.h"

namespace imagesearch::encoder {
namespace {

constexpr size_t kSignature = 8;
constexpr size_t kMaxText = 1 << 20;
constexpr size_t kMaxTexts = 64 << 20;

// The decompressed bytes; empty when they are damaged, nullopt when they exceed kMaxText.
std::optional<std::string> Inflate(absl::string_view compressed) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return std::string();
  std::string out(kMaxText, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = inflate(&stream, Z_SYNC_FLUSH);
  const bool too_long = stream.avail_out == 0 && stream.avail_in > 0 && result != Z_STREAM_END;
  out.erase(out.size() - stream.avail_out);
  inflateEnd(&stream);
  if (too_long) return std::nullopt;
  if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) return std::string();
  return out;
}

// ImageMagick's way to keep EXIF in a text: a blank line, a name, a length, then hex digits.
std::string RawProfile(absl::string_view text) {
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  std::string hex;
  for (size_t i = 3; i < lines.size(); ++i) {
    absl::StrAppend(&hex, absl::StripAsciiWhitespace(lines[i]));
  }
  const bool valid = hex.size() % 2 == 0 && std::all_of(hex.begin(), hex.end(), [](char c) {
                       return absl::ascii_isxdigit(static_cast<unsigned char>(c));
                     });
  return valid ? absl::HexStringToBytes(hex) : std::string();
}

class Walker {
 public:
  explicit Walker(absl::string_view bytes) : bytes_(bytes) {}

  absl::StatusOr<PngChunks> Walk() {
    if (absl::Status status = BeforePixels(); !status.ok()) return status;
    if (absl::Status status = BehindPixels(); !status.ok()) return status;
    if (out_.exif.empty()) out_.exif = std::move(raw_profile_);
    return std::move(out_);
  }

 private:
  struct Chunk {
    absl::string_view name;
    size_t body = 0, length = 0;
  };

  // Moves behind the chunk's header; nullopt where there is no chunk.
  std::optional<Chunk> NextHeader() {
    if (!Has(bytes_, at_, 8)) return std::nullopt;
    Chunk chunk = {bytes_.substr(at_ + 4, 4), at_ + 8, Be32(bytes_, at_)};
    for (char c : chunk.name) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_') return std::nullopt;
    }
    at_ += 8;
    return chunk;
  }

  absl::Status Cut(const Chunk& chunk) const {
    return CorruptImage("PNG", absl::StrCat("it ends in a chunk ", chunk.name));
  }

  absl::Status BeforePixels() {
    at_ = kSignature;
    while (true) {
      const std::optional<Chunk> chunk = NextHeader();
      if (!chunk) return CorruptImage("PNG", "a chunk that isn't one, before the pixels");
      if (chunk->name == "IDAT" || chunk->name == "fdAT") {
        at_ -= 8;
        animated_ = frames_ && *frames_ + (has_frame_control_ ? 0 : 1) > 1;
        break;
      }
      if (chunk->name == "IEND") return CorruptImage("PNG", "it has no pixels");
      if (!Has(bytes_, chunk->body, chunk->length) ||
          !Has(bytes_, chunk->body + chunk->length, 4)) {
        return Cut(*chunk);
      }
      const absl::string_view body = bytes_.substr(chunk->body, chunk->length);
      if (absl::Status status = Take(chunk->name, body); !status.ok()) return status;
      const auto* start = reinterpret_cast<const Bytef*>(chunk->name.data());
      const uLong sum = crc32(0, start, static_cast<uInt>(4 + chunk->length));
      if (sum != Be32(bytes_, chunk->body + chunk->length)) {
        return CorruptImage("PNG", absl::StrCat("wrong checksum of chunk ", chunk->name));
      }
      at_ = chunk->body + chunk->length + 4;
    }
    return out_.width == 0 ? CorruptImage("PNG", "it has no header chunk") : absl::OkStatus();
  }

  absl::Status BehindPixels() {
    while (const std::optional<Chunk> chunk = NextHeader()) {
      if (chunk->name == "IEND") return absl::OkStatus();
      // The next frame of an animation begins: nothing from here on matters.
      if (chunk->name == "fcTL" && animated_) return absl::OkStatus();
      if (!Has(bytes_, chunk->body, chunk->length)) return Cut(*chunk);
      const absl::string_view body = bytes_.substr(chunk->body, chunk->length);
      // What the pixels are is settled by now.
      const bool too_late = chunk->name == "IHDR" || chunk->name == "PLTE" || chunk->name == "tRNS";
      if (!too_late) {
        if (absl::Status status = Take(chunk->name, body); !status.ok()) return status;
      }
      at_ = std::min(chunk->body + chunk->length + 4, bytes_.size());
    }
    return absl::OkStatus();
  }

  absl::Status Take(absl::string_view name, absl::string_view body) {
    static constexpr std::pair<absl::string_view, size_t> kShortest[] = {
        {"IHDR", 13}, {"gAMA", 4}, {"cHRM", 32}, {"sRGB", 1},
        {"pHYs", 9},  {"acTL", 8}, {"fcTL", 26}, {"fdAT", 4}};
    for (const auto& [kind, size] : kShortest) {
      if (name == kind && body.size() < size) {
        return CorruptImage("PNG", absl::StrCat("chunk ", name, " is too short"));
      }
    }
    if (name == "IHDR") {
      out_.width = Be32(body, 0);
      out_.height = Be32(body, 4);
      out_.depth = ByteAt(body, 8);
      out_.color_type = ByteAt(body, 9);
    } else if (name == "PLTE") {
      out_.palette = body;
    } else if (name == "tRNS") {
      out_.transparency = body;
      const size_t needed = out_.color_type == 2 ? 6 : out_.color_type == 0 ? 2 : 0;
      if (body.size() < needed) return CorruptImage("PNG", "chunk tRNS is too short");
    } else if (name == "eXIf") {
      out_.exif = std::string(body);
    } else if (name == "iCCP") {
      // The profile itself is not used, so its size doesn't matter.
      const size_t end = body.find('\0');
      if (end != absl::string_view::npos && end + 1 < body.size() && body[end + 1] != 0) {
        return CorruptImage("PNG", "chunk iCCP has an unknown compression");
      }
    } else if (name == "tEXt" || name == "zTXt" || name == "iTXt") {
      return TakeText(name, body);
    } else if (name == "acTL") {
      const uint32_t frames = Be32(body, 0);
      if (frames_ || frames == 0 || frames > 0x80000000u) {
        frames_.reset();
      } else {
        frames_ = frames;
      }
    } else if (name == "fcTL") {
      has_frame_control_ = true;
      if (uint64_t{Be32(body, 12)} + Be32(body, 4) > out_.width ||
          uint64_t{Be32(body, 16)} + Be32(body, 8) > out_.height) {
        return CorruptImage("PNG", "an animation frame outside the image");
      }
      return TakeSequence(Be32(body, 0));
    } else if (name == "fdAT") {
      return sequence_ ? TakeSequence(Be32(body, 0))
                       : CorruptImage("PNG", "animation frames out of order");
    }
    return absl::OkStatus();
  }

  absl::Status TakeSequence(uint32_t number) {
    if (sequence_ ? number != *sequence_ + 1 : number != 0) {
      return CorruptImage("PNG", "animation frames out of order");
    }
    sequence_ = number;
    return absl::OkStatus();
  }

  absl::Status TakeText(absl::string_view kind, absl::string_view body) {
    const size_t key_end = body.find('\0');
    if (key_end == absl::string_view::npos) return absl::OkStatus();
    const absl::string_view key = body.substr(0, key_end);
    absl::string_view value = body.substr(key_end + 1);
    bool compressed = false;
    if (kind == "zTXt") {
      if (value.empty()) return absl::OkStatus();
      if (value[0] != 0) return CorruptImage("PNG", "chunk zTXt has an unknown compression");
      value.remove_prefix(1);
      compressed = true;
    } else if (kind == "iTXt") {
      if (value.size() < 2) return absl::OkStatus();
      compressed = value[0] != 0;
      if (compressed && value[1] != 0) return absl::OkStatus();
      value.remove_prefix(2);
      for (int skip = 0; skip < 2; ++skip) {  // language and translated key
        const size_t end = value.find('\0');
        if (end == absl::string_view::npos) return absl::OkStatus();
        value.remove_prefix(end + 1);
      }
    }
    std::string text;
    if (compressed) {
      std::optional<std::string> inflated = Inflate(value);
      if (!inflated) {
        return InvalidArgument("IMAGE_TOO_LARGE",
                               "the PNG image has a text chunk of more than 1 MiB");
      }
      text = *std::move(inflated);
      value = text;
    }
    text_bytes_ += value.size();
    if (text_bytes_ > kMaxTexts) {
      return InvalidArgument("IMAGE_TOO_LARGE",
                             "the PNG image has more than 64 MiB of text chunks");
    }
    if (key == "XML:com.adobe.xmp") out_.xmp.assign(value.data(), value.size());
    if (key == "Raw profile type exif") raw_profile_ = RawProfile(value);
    return absl::OkStatus();
  }

  const absl::string_view bytes_;
  size_t at_ = 0;
  PngChunks out_;
  std::string raw_profile_;
  size_t text_bytes_ = 0;
  // Of an animated PNG.
  std::optional<uint32_t> frames_, sequence_;
  bool has_frame_control_ = false, animated_ = false;
};

}  // namespace

absl::StatusOr<PngChunks> ReadPngChunks(absl::string_view bytes) { return Walker(bytes).Walk(); }

}  // namespace imagesearch::encoder
