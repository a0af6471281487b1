// See exif.h.
#include "client/picture/exif.h"

#include <libexif/exif-data.h>

#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/picture/heif.h"
#include "encoder/image/header.h"

namespace imagesearch::client {
namespace {

using Data = std::unique_ptr<ExifData, decltype(&exif_data_unref)>;

ExifEntry* Find(const Data& data, ExifIfd ifd, int tag) {
  return exif_content_get_entry(data->ifd[ifd], static_cast<ExifTag>(tag));
}

std::string Text(const Data& data, ExifIfd ifd, int tag) {
  const ExifEntry* entry = Find(data, ifd, tag);
  if (entry == nullptr || entry->format != EXIF_FORMAT_ASCII) return "";
  absl::string_view text(reinterpret_cast<const char*>(entry->data), entry->size);
  text = absl::StripAsciiWhitespace(text.substr(0, text.find('\0')));
  // Metadata are UTF-8; EXIF promises ASCII only.
  for (char c : text) {
    if (!absl::ascii_isprint(c)) return "";
  }
  return std::string(text);
}

// "2024:05:01 17:03:11" -> "2024-05-01T17:03:11"; empty when it is not of that form.
std::string IsoTime(std::string text) {
  if (text.size() != 19 || text[4] != ':' || text[7] != ':' || text[10] != ' ') return "";
  for (int i : {0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18}) {
    if (!absl::ascii_isdigit(text[i])) return "";
  }
  if (absl::StartsWith(text, "0000")) return "";
  text[4] = text[7] = '-';
  text[10] = 'T';
  return text;
}

// Degrees, minutes and seconds as three rationals.
std::optional<double> Degrees(const Data& data, int tag, int reference_tag, char negative) {
  const ExifEntry* entry = Find(data, EXIF_IFD_GPS, tag);
  if (entry == nullptr || entry->format != EXIF_FORMAT_RATIONAL || entry->components != 3 ||
      entry->size < 24) {
    return std::nullopt;
  }
  const ExifByteOrder order = exif_data_get_byte_order(data.get());
  double degrees = 0;
  double unit = 1;
  for (int i = 0; i < 3; ++i, unit /= 60) {
    const ExifRational part = exif_get_rational(entry->data + 8 * i, order);
    if (part.denominator == 0) return std::nullopt;
    degrees += unit * part.numerator / part.denominator;
  }
  const std::string reference = Text(data, EXIF_IFD_GPS, reference_tag);
  if (degrees > 180 || reference.empty()) return std::nullopt;
  return reference[0] == negative ? -degrees : degrees;
}

}  // namespace

void AddExif(absl::string_view bytes, google::protobuf::Struct* metadata) {
  auto& fields = *metadata->mutable_fields();
  std::string heif_exif;
  if (IsHeif(bytes)) {
    auto info = ReadHeifInfo(bytes);
    if (!info.ok()) return;
    fields["width"].set_number_value(info->width);
    fields["height"].set_number_value(info->height);
    heif_exif = std::move(info->exif);
    bytes = heif_exif;
  } else if (const auto header = encoder::ProbeImage(bytes); header.ok()) {
    fields["width"].set_number_value(header->width);
    fields["height"].set_number_value(header->height);
  }
  const bool has_exif = absl::StartsWith(bytes, "\xFF\xD8") || !heif_exif.empty();
  if (!has_exif || bytes.size() > std::numeric_limits<int>::max()) return;
  const Data data(exif_data_new_from_data(reinterpret_cast<const unsigned char*>(bytes.data()),
                                          static_cast<unsigned>(bytes.size())),
                  exif_data_unref);
  if (data == nullptr) return;

  std::string taken = IsoTime(Text(data, EXIF_IFD_EXIF, EXIF_TAG_DATE_TIME_ORIGINAL));
  if (taken.empty()) taken = IsoTime(Text(data, EXIF_IFD_0, EXIF_TAG_DATE_TIME));
  if (!taken.empty()) {
    fields["taken"].set_string_value(taken);
    fields["year"].set_number_value(std::stoi(taken.substr(0, 4)));
  }
  const std::string make = Text(data, EXIF_IFD_0, EXIF_TAG_MAKE);
  const std::string model = Text(data, EXIF_IFD_0, EXIF_TAG_MODEL);
  // Many models begin with the maker's name.
  const std::string camera =
      absl::StartsWith(model, make) ? model : absl::StrCat(make, model.empty() ? "" : " ", model);
  if (!camera.empty()) fields["camera"].set_string_value(camera);
  const auto latitude = Degrees(data, EXIF_TAG_GPS_LATITUDE, EXIF_TAG_GPS_LATITUDE_REF, 'S');
  const auto longitude = Degrees(data, EXIF_TAG_GPS_LONGITUDE, EXIF_TAG_GPS_LONGITUDE_REF, 'W');
  if (latitude && longitude) {
    fields["latitude"].set_number_value(*latitude);
    fields["longitude"].set_number_value(*longitude);
  }
}

}  // namespace imagesearch::client
