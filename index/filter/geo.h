// Areas on the sphere: what geo_within and geo_box mean.
#ifndef IMAGESEARCH_INDEX_FILTER_GEO_H_
#define IMAGESEARCH_INDEX_FILTER_GEO_H_

namespace imagesearch::index {

// Degrees: latitude in [-90, 90], longitude in [-180, 180].
struct GeoPoint {
  double lat = 0;
  double lng = 0;
};

bool IsValid(const GeoPoint& point);

// Bounds in degrees, ends included. west > east: the box crosses the 180th meridian.
struct GeoBox {
  double south = 0, west = 0, north = 0, east = 0;
  bool Contains(const GeoPoint& point) const;
};

// Metres on a sphere with the mean Earth radius (6,371,008.8 m), by the haversine formula.
double DistanceMetres(const GeoPoint& a, const GeoPoint& b);

// A box, or the disc of `radius_m` metres around `center` (its edge included) together with a box
// that holds the whole disc.
struct GeoArea {
  bool is_disc = false;
  GeoPoint center;
  double radius_m = 0;
  GeoBox bounds;

  static GeoArea Box(const GeoBox& box);
  // `radius_m` is finite and not negative.
  static GeoArea Disc(const GeoPoint& center, double radius_m);
  bool Contains(const GeoPoint& point) const;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_GEO_H_
