// Spherical geometry of the geo filters.
#include "index/filter/geo.h"

#include <algorithm>
#include <cmath>

namespace imagesearch::index {
namespace {
constexpr double kEarthRadiusMetres = 6371008.8;
constexpr double kRadians = 0.017453292519943295;  // of one degree
// Widens the box of a disc, so that rounding never leaves a point of the disc outside (0.1 mm).
constexpr double kSlackDegrees = 1e-9;
}  // namespace

bool IsValid(const GeoPoint& point) {
  return point.lat >= -90 && point.lat <= 90 && point.lng >= -180 && point.lng <= 180;
}

bool GeoBox::Contains(const GeoPoint& point) const {
  if (point.lat < south || point.lat > north) return false;
  if (west <= east) return point.lng >= west && point.lng <= east;
  return point.lng >= west || point.lng <= east;
}

double DistanceMetres(const GeoPoint& a, const GeoPoint& b) {
  const double dlat = std::sin((b.lat - a.lat) * kRadians / 2);
  const double dlng = std::sin((b.lng - a.lng) * kRadians / 2);
  const double h =
      dlat * dlat + std::cos(a.lat * kRadians) * std::cos(b.lat * kRadians) * dlng * dlng;
  return 2 * kEarthRadiusMetres * std::asin(std::sqrt(std::min(1.0, h)));
}

GeoArea GeoArea::Box(const GeoBox& box) {
  GeoArea area;
  area.bounds = box;
  return area;
}

GeoArea GeoArea::Disc(const GeoPoint& center, double radius_m) {
  GeoArea area;
  area.is_disc = true;
  area.center = center;
  area.radius_m = radius_m;
  const double angle = radius_m / kEarthRadiusMetres;  // radians
  const double reach = angle / kRadians + kSlackDegrees;
  area.bounds = {std::max(-90.0, center.lat - reach), -180, std::min(90.0, center.lat + reach),
                 180};
  // Away from the poles the disc's widest longitude is asin(sin(angle) / cos(lat)).
  if (center.lat - reach > -90 && center.lat + reach < 90) {
    const double ratio = std::sin(angle) / std::cos(center.lat * kRadians);
    const double half = ratio < 1 ? std::asin(ratio) / kRadians * (1 + 1e-12) + kSlackDegrees : 180;
    if (half < 180) {
      area.bounds.west = center.lng - half;
      area.bounds.east = center.lng + half;
      if (area.bounds.west < -180) area.bounds.west += 360;
      if (area.bounds.east > 180) area.bounds.east -= 360;
    }
  }
  return area;
}

bool GeoArea::Contains(const GeoPoint& point) const {
  return bounds.Contains(point) && (!is_disc || DistanceMetres(center, point) <= radius_m);
}

}  // namespace imagesearch::index
