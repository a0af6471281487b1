// Training, coding and look-up tables of product-quantised codes.
#include "index/ann/pq_codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <random>

#include "index/ann/byte_stream.h"
#include "index/ann/parallel.h"
#include "index/ann/sample_queries.h"
#include "index/ann/simd.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kTrainingRows = 16'384;
constexpr int kIterations = 12;
constexpr uint32_t kPiece = 1024;  // rows of a thread's turn, whole blocks
// Sums of look-ups are 16 bits wide.
constexpr float kMaxSum = 65'535;

bool IsCancelled(const PqOptions& options) {
  return options.cancelled != nullptr && *options.cancelled;
}

// What belongs to vectors of length 1 is far smaller; larger numbers would overflow sums.
bool AreSane(absl::Span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::fabs(x) <= 1e3f; });
}

// k-means of one part of the residuals: `points` is (n, width) row-major, `book` (width, 256).
void TrainPart(const std::vector<float>& points, size_t width, uint64_t seed, float* book,
               float* half_norms) {
  const size_t n = points.size() / width;
  std::mt19937_64 random(seed);
  const auto set = [&](size_t entry, const float* value) {
    float norm2 = 0;
    for (size_t j = 0; j < width; ++j) {
      book[j * kPqEntries + entry] = value[j];
      norm2 += value[j] * value[j];
    }
    half_norms[entry] = norm2 / 2;
  };
  const std::vector<uint32_t> first =
      SampleRows(static_cast<uint32_t>(n), static_cast<uint32_t>(kPqEntries), seed);
  for (size_t c = 0; c < kPqEntries; ++c) set(c, points.data() + first[c % first.size()] * width);
  const PqKernels& kernels = Pq();
  std::vector<double> sums(kPqEntries * width);
  std::vector<uint32_t> counts(kPqEntries);
  std::vector<float> middle(width);
  // No more points than entries: each is one already.
  for (int i = 0; i < kIterations && n > kPqEntries; ++i) {
    std::fill(sums.begin(), sums.end(), 0.0);
    std::fill(counts.begin(), counts.end(), 0);
    for (size_t p = 0; p < n; ++p) {
      const float* point = points.data() + p * width;
      const uint32_t c = kernels.nearest(point, book, half_norms, width);
      ++counts[c];
      for (size_t j = 0; j < width; ++j) sums[c * width + j] += point[j];
    }
    for (size_t c = 0; c < kPqEntries; ++c) {
      if (counts[c] == 0) {
        set(c, points.data() + random() % n * width);
        continue;
      }
      for (size_t j = 0; j < width; ++j) {
        middle[j] = static_cast<float>(sums[c * width + j] / counts[c]);
      }
      set(c, middle.data());
    }
  }
}

}  // namespace

void PqCodes::FindDirections(const PqOptions& options) {
  const size_t d = static_cast<size_t>(dimension_);
  directions_.assign(kPqDirections * d, 0.0f);
  std::vector<double> text(d, 0.0);
  for (size_t i = 0; i < options.text_sample.size(); ++i) text[i % d] += options.text_sample[i];
  std::copy(options.image_mean.begin(), options.image_mean.end(), directions_.begin());
  std::copy(text.begin(), text.end(), directions_.begin() + static_cast<ptrdiff_t>(d));
  for (size_t s = 0; s < kPqDirections; ++s) {
    float* u = directions_.data() + s * d;
    const auto scale_by = [&](double factor) {
      for (size_t j = 0; j < d; ++j) u[j] = static_cast<float>(u[j] * factor);
    };
    const auto length = [&] {
      double norm2 = 0;
      for (size_t j = 0; j < d; ++j) norm2 += static_cast<double>(u[j]) * u[j];
      return std::sqrt(norm2);
    };
    const double before = length();
    scale_by(before > 1e-6 ? 1 / before : 0);
    for (size_t t = 0; t < s; ++t) {
      const float* other = directions_.data() + t * d;
      double along = 0;
      for (size_t j = 0; j < d; ++j) along += static_cast<double>(u[j]) * other[j];
      for (size_t j = 0; j < d; ++j) u[j] -= static_cast<float>(along * other[j]);
    }
    // What is left of a direction that lies in the others is rounding.
    const double left = length();
    scale_by(left > 1e-3 ? 1 / left : 0);
  }
}

void PqCodes::Residual(const float* x, uint32_t list, const float* centroid, float* out) const {
  const float scale = list_scales_[list];
  for (size_t j = 0; j < static_cast<size_t>(dimension_); ++j) out[j] = x[j] - scale * centroid[j];
}

bool PqCodes::FitLists(const VectorSource& vectors, const Layout& layout, const Lists& lists,
                       const PqOptions& options) {
  const size_t d = static_cast<size_t>(dimension_);
  list_scales_.assign(lists.size(), 0.0f);
  ParallelFor(lists.size(), options.threads, 16, [&](uint32_t begin, uint32_t end) {
    if (IsCancelled(options)) return;
    std::vector<float> centroid(d);
    for (uint32_t list = begin; list < end; ++list) {
      lists.DecodeCentroid(list, centroid.data());
      const float norm2 = Simd().dot_f32(centroid.data(), centroid.data(), d);
      double sum = 0;
      for (uint32_t p = lists.begin(list); p < lists.end(list); ++p) {
        sum += Simd().dot_f32(vectors.Row(layout.RowAt(p)), centroid.data(), d);
      }
      const double count = lists.end(list) - lists.begin(list);
      if (norm2 > 1e-12f && count > 0) {
        list_scales_[list] = static_cast<float>(sum / count / norm2);
      }
    }
  });
  return !IsCancelled(options);
}

bool PqCodes::Train(const VectorSource& vectors, const Layout& layout, const Lists& lists,
                    const PqOptions& options) {
  const size_t d = static_cast<size_t>(dimension_), parts = static_cast<size_t>(pq_bytes_);
  const std::vector<uint32_t> sample = SampleRows(rows_, kTrainingRows, 31);
  const size_t n = sample.size();
  // (parts, n, width): a part's points lie together.
  std::vector<float> points(n * d);
  ParallelFor(static_cast<uint32_t>(n), options.threads, 256, [&](uint32_t begin, uint32_t end) {
    if (IsCancelled(options)) return;
    std::vector<float> centroid(d), residual(d);
    for (uint32_t i = begin; i < end; ++i) {
      const uint32_t list = lists.ListOf(sample[i]);
      lists.DecodeCentroid(list, centroid.data());
      Residual(vectors.Row(layout.RowAt(sample[i])), list, centroid.data(), residual.data());
      for (size_t m = 0; m < parts; ++m) {
        std::copy_n(residual.data() + m * width(), width(), points.data() + (m * n + i) * width());
      }
    }
  });
  books_.assign(d * kPqEntries, 0.0f);
  half_norms_.assign(parts * kPqEntries, 0.0f);
  ParallelFor(static_cast<uint32_t>(parts), options.threads, 1, [&](uint32_t m, uint32_t) {
    if (IsCancelled(options)) return;
    const auto first = points.begin() + static_cast<ptrdiff_t>(m * n * width());
    const std::vector<float> part(first, first + static_cast<ptrdiff_t>(n * width()));
    TrainPart(part, width(), 100 + m, books_.data() + m * width() * kPqEntries,
              half_norms_.data() + m * kPqEntries);
  });
  return !IsCancelled(options);
}

bool PqCodes::Encode(const VectorSource& vectors, const Layout& layout, const Lists& lists,
                     const PqOptions& options) {
  const size_t d = static_cast<size_t>(dimension_), parts = static_cast<size_t>(pq_bytes_);
  const uint64_t blocks = (uint64_t{rows_} + kPqBlock - 1) / kPqBlock;
  codes_.assign(blocks * block_bytes(), 0);
  std::vector<float> left(rows_ * kPqDirections);  // u . e by position
  std::mutex mutex;                                // guards `least` and `most`
  std::array<float, kPqDirections> least, most;
  least.fill(std::numeric_limits<float>::infinity());
  most.fill(-std::numeric_limits<float>::infinity());
  const auto column = [this](uint32_t position, size_t m) -> uint8_t& {
    return codes_[position / kPqBlock * block_bytes() + m * kPqBlock + position % kPqBlock];
  };
  ParallelFor(rows_, options.threads, kPiece, [&](uint32_t begin, uint32_t end) {
    if (IsCancelled(options)) return;
    const PqKernels& kernels = Pq();
    std::vector<float> centroid(d), residual(d);
    std::array<float, kPqDirections> low = {}, high = {};
    uint32_t list = lists.ListOf(begin);
    lists.DecodeCentroid(list, centroid.data());
    for (uint32_t p = begin; p < end; ++p) {
      if (p >= lists.end(list)) {
        list = lists.ListOf(p);
        lists.DecodeCentroid(list, centroid.data());
      }
      Residual(vectors.Row(layout.RowAt(p)), list, centroid.data(), residual.data());
      for (size_t m = 0; m < parts; ++m) {
        float* part = residual.data() + m * width();
        const uint32_t c =
            kernels.nearest(part, book(m), half_norms_.data() + m * kPqEntries, width());
        column(p, m) = static_cast<uint8_t>(c);
        for (size_t j = 0; j < width(); ++j) part[j] -= book(m)[j * kPqEntries + c];
      }
      for (size_t s = 0; s < kPqDirections; ++s) {
        const float along = Simd().dot_f32(residual.data(), directions_.data() + s * d, d);
        left[p * kPqDirections + s] = along;
        low[s] = std::min(low[s], along);
        high[s] = std::max(high[s], along);
      }
    }
    std::lock_guard lock(mutex);
    for (size_t s = 0; s < kPqDirections; ++s) {
      least[s] = std::min(least[s], low[s]);
      most[s] = std::max(most[s], high[s]);
    }
  });
  if (IsCancelled(options)) return false;
  for (size_t s = 0; s < kPqDirections && rows_ > 0; ++s) {
    least_[s] = least[s];
    step_[s] = (most[s] - least[s]) / 255;
  }
  ParallelFor(rows_, options.threads, kPiece, [&](uint32_t begin, uint32_t end) {
    for (uint32_t p = begin; p < end; ++p) {
      for (size_t s = 0; s < kPqDirections; ++s) {
        if (!(step_[s] > 0)) continue;
        const float code = std::round((left[p * kPqDirections + s] - least_[s]) / step_[s]);
        column(p, parts + s) = static_cast<uint8_t>(std::clamp(code, 0.0f, 255.0f));
      }
    }
  });
  return true;
}

bool PqCodes::Build(const VectorSource& vectors, const Layout& layout, const Lists& lists,
                    const PqOptions& options) {
  rows_ = vectors.rows();
  dimension_ = vectors.dimension();
  pq_bytes_ = options.pq_bytes;
  FindDirections(options);
  if (rows_ == 0) {
    books_.assign(static_cast<size_t>(dimension_) * kPqEntries, 0.0f);
    return !IsCancelled(options);
  }
  const bool built = FitLists(vectors, layout, lists, options) &&
                     Train(vectors, layout, lists, options) &&
                     Encode(vectors, layout, lists, options);
  half_norms_ = {};
  return built;
}

PqQuery PqCodes::MakeQuery(const float* query) const {
  const size_t d = static_cast<size_t>(dimension_), parts = static_cast<size_t>(pq_bytes_);
  std::vector<float> scores(columns() * kPqEntries);
  for (size_t m = 0; m < parts; ++m) {
    Pq().table(query + m * width(), book(m), width(), scores.data() + m * kPqEntries);
  }
  for (size_t s = 0; s < kPqDirections; ++s) {
    const float along = Simd().dot_f32(query, directions_.data() + s * d, d);
    float* line = scores.data() + (parts + s) * kPqEntries;
    for (size_t c = 0; c < kPqEntries; ++c) {
      line[c] = along * (least_[s] + step_[s] * static_cast<float>(c));
    }
  }
  PqQuery tables;
  std::vector<float> least(columns());
  float widest = 0, total = 0;
  for (size_t m = 0; m < columns(); ++m) {
    const auto [low, high] =
        std::minmax_element(scores.begin() + m * kPqEntries, scores.begin() + (m + 1) * kPqEntries);
    least[m] = *low;
    tables.base += *low;
    widest = std::max(widest, *high - *low);
    total += *high - *low;
  }
  // A look-up is one byte, and their sum, each rounded up by half at most, two bytes.
  tables.step = std::max({widest / 255, total / (kMaxSum - static_cast<float>(columns())), 1e-30f});
  const float inverse = 1 / tables.step;
  tables.table.resize(scores.size());
  for (size_t m = 0; m < columns(); ++m) {
    for (size_t c = 0; c < kPqEntries; ++c) {
      const float value = (scores[m * kPqEntries + c] - least[m]) * inverse;
      tables.table[m * kPqEntries + c] =
          static_cast<uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
    }
  }
  return tables;
}

uint32_t PqCodes::Sum(const PqQuery& query, uint32_t position) const {
  const uint8_t* codes = block(position) + position % kPqBlock;
  uint32_t sum = 0;
  for (size_t m = 0; m < columns(); ++m) {
    sum += query.table[m * kPqEntries + codes[m * kPqBlock]];
  }
  return sum;
}

uint64_t PqCodes::memory_bytes() const {
  return codes_.size() + (books_.size() + list_scales_.size() + directions_.size()) * sizeof(float);
}

void PqCodes::Save(ByteSink& sink) const {
  WriteArray(sink, list_scales_);
  WriteArray(sink, directions_);
  WriteArray(sink, least_);
  WriteArray(sink, step_);
  WriteArray(sink, books_);
  WriteArray(sink, codes_);
}

bool PqCodes::Load(ByteSource& source, uint32_t rows, int dimension, int pq_bytes, uint32_t lists) {
  rows_ = rows;
  dimension_ = dimension;
  pq_bytes_ = pq_bytes;
  const uint64_t d = static_cast<uint64_t>(dimension);
  const uint64_t blocks = (uint64_t{rows} + kPqBlock - 1) / kPqBlock;
  return ReadArray(source, lists, list_scales_) &&
         ReadArray(source, kPqDirections * d, directions_) &&
         source.Read(least_.data(), sizeof(least_)) && source.Read(step_.data(), sizeof(step_)) &&
         ReadArray(source, d * kPqEntries, books_) &&
         ReadArray(source, blocks * block_bytes(), codes_) && AreSane(list_scales_) &&
         AreSane(directions_) && AreSane(least_) && AreSane(step_) && AreSane(books_);
}

}  // namespace imagesearch::index
