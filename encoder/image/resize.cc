// Separable resampling in fixed point, as Pillow's Resample.c defines it: coefficients in double,
// normalised, rounded to 22 bits; a pass into 8 bits for each axis.
#include "encoder/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "encoder/image/resize_kernels.h"

namespace imagesearch::encoder {
namespace {

struct Filter {
  double support;
  double (*weight)(double x);
};

double Sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * M_PI) / (x * M_PI); }

Filter FilterOf(Resample resample) {
  switch (resample) {
    case Resample::kBox:
      return {0.5, [](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }};
    case Resample::kBilinear:
      return {1.0, [](double x) { return std::abs(x) < 1.0 ? 1.0 - std::abs(x) : 0.0; }};
    case Resample::kHamming:
      return {1.0, [](double x) {
                x = std::abs(x);
                if (x == 0.0) return 1.0;
                if (x >= 1.0) return 0.0;
                x *= M_PI;
                return std::sin(x) / x * (0.54f + 0.46f * std::cos(x));
              }};
    case Resample::kLanczos:
      return {3.0, [](double x) { return -3.0 <= x && x < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0; }};
    case Resample::kNearest:
    case Resample::kBicubic:
      break;
  }
  return {2.0, [](double x) {  // Catmull-Rom: a = -0.5
            constexpr double a = -0.5;
            x = std::abs(x);
            if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
            if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
            return 0.0;
          }};
}

// The taps of output positions [first, first + count) of an axis of `source` pixels resized to
// `target`.
ResizeTaps MakeTaps(int source, int target, int first, int count, const Filter& filter) {
  const double scale = static_cast<double>(source) / target;
  const double filter_scale = std::max(scale, 1.0);
  const double support = filter.support * filter_scale;
  ResizeTaps taps;
  taps.stride = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.start.resize(count);
  taps.length.resize(count);
  taps.weights.assign(static_cast<size_t>(count) * taps.stride, 0);
  std::vector<double> weights(taps.stride);
  const double step = 1.0 / filter_scale;
  for (int i = 0; i < count; ++i) {
    const double center = (first + i + 0.5) * scale;
    const int begin = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), source);
    const int length = end - begin;
    double sum = 0.0;
    for (int k = 0; k < length; ++k) {
      weights[k] = filter.weight((k + begin - center + 0.5) * step);
      sum += weights[k];
    }
    int32_t* out = &taps.weights[static_cast<size_t>(i) * taps.stride];
    for (int k = 0; k < length; ++k) {
      const double weight = sum != 0.0 ? weights[k] / sum : weights[k];
      out[k] = static_cast<int32_t>(weight * (1 << kResizeBits) + (weight < 0 ? -0.5 : 0.5));
    }
    taps.start[i] = begin;
    taps.length[i] = length;
  }
  return taps;
}

// Source positions of nearest-neighbour sampling; Pillow adds up the step, so the rounding of the
// sum is part of the result.
std::vector<int> NearestPositions(int source, int target, int first, int count) {
  const double step = static_cast<double>(source) / target;
  double position = step * 0.5;
  std::vector<int> positions;
  positions.reserve(count);
  for (int i = 0; i < first + count; ++i, position += step) {
    if (i >= first) positions.push_back(std::min(static_cast<int>(position), source - 1));
  }
  return positions;
}

RgbImage NearestWindow(const RgbView& source, int target_width, int target_height,
                       const Rect& window) {
  const std::vector<int> columns =
      NearestPositions(source.width, target_width, window.left, window.width);
  const std::vector<int> rows =
      NearestPositions(source.height, target_height, window.top, window.height);
  RgbImage result(window.width, window.height);
  for (int y = 0; y < window.height; ++y) {
    uint8_t* to = result.row(y);
    for (int column : columns) {
      std::memcpy(to, source.row(rows[y]) + size_t{3} * column, 3);
      to += 3;
    }
  }
  return result;
}

RgbImage Copy(const RgbView& source, const Rect& part) {
  RgbImage result(part.width, part.height);
  for (int y = 0; y < part.height; ++y) {
    std::memcpy(result.row(y), source.row(part.top + y) + size_t{3} * part.left,
                size_t{3} * part.width);
  }
  return result;
}

struct Span {
  int begin, length;
};

// The source positions that any of the outputs needs.
Span Needed(const ResizeTaps& taps) {
  const int begin = taps.start.front();
  return {begin, taps.start.back() + taps.length.back() - begin};
}

ResizeTaps Shifted(ResizeTaps taps, int by) {
  for (int& start : taps.start) start -= by;
  return taps;
}

RgbView Rows(const RgbView& image, Span span) {
  return {image.row(span.begin), image.width, span.length, image.stride};
}
RgbView Columns(const RgbView& image, Span span) {
  return {image.data + size_t{3} * span.begin, span.length, image.height, image.stride};
}

RgbImage Horizontal(const RgbView& source, const ResizeTaps& taps) {
  RgbImage result(static_cast<int>(taps.start.size()), source.height);
  ResizeRows(source, taps, result);
  return result;
}
RgbImage Vertical(const RgbView& source, const ResizeTaps& taps) {
  RgbImage result(source.width, static_cast<int>(taps.start.size()));
  ResizeColumns(source, taps, result);
  return result;
}

// Since version 13 Pillow begins with the vertical pass where that one takes away more than twice
// as many pixels as the horizontal one (found by comparing its results).
bool VerticalFirst(const RgbView& source, int target_width, int target_height) {
  const int rows_less = source.height - target_height;
  return rows_less > 0 && rows_less > 2 * (source.width - target_width) &&
         source.width != target_width;
}

}  // namespace

RgbImage ResizeWindow(const RgbView& source, int target_width, int target_height, Resample resample,
                      const Rect& window) {
  const bool same_width = target_width == source.width;
  const bool same_height = target_height == source.height;
  if (same_width && same_height) return Copy(source, window);
  if (resample == Resample::kNearest) {
    return NearestWindow(source, target_width, target_height, window);
  }
  const Filter filter = FilterOf(resample);
  const ResizeTaps horizontal =
      MakeTaps(source.width, target_width, window.left, window.width, filter);
  const ResizeTaps vertical =
      MakeTaps(source.height, target_height, window.top, window.height, filter);
  // Rounding between the passes makes their order part of the result.
  if (VerticalFirst(source, target_width, target_height)) {
    const Span columns = Needed(horizontal);
    const RgbImage low = Vertical(Columns(source, columns), vertical);
    return Horizontal(low.view(), Shifted(horizontal, columns.begin));
  }
  if (same_width) {
    return Vertical(Columns(source, {window.left, window.width}), vertical);
  }
  if (same_height) {
    return Horizontal(Rows(source, {window.top, window.height}), horizontal);
  }
  const Span rows = Needed(vertical);
  const RgbImage narrow = Horizontal(Rows(source, rows), horizontal);
  return Vertical(narrow.view(), Shifted(vertical, rows.begin));
}

}  // namespace imagesearch::encoder
