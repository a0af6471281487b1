// A grid of cells in the order of rows: an area reads only the cells that exist inside its box.
#include "index/filter/geo_column.h"

#include <algorithm>

namespace imagesearch::index {
namespace {

constexpr int kCellsPerDegree = 64;
constexpr uint32_t kRowShift = 16;  // 360 * 64 columns fit 16 bits, 180 * 64 rows too

uint32_t RowOf(double lat) { return static_cast<uint32_t>((lat + 90) * kCellsPerDegree); }
uint32_t ColumnOf(double lng) { return static_cast<uint32_t>((lng + 180) * kCellsPerDegree); }
uint32_t CellOf(const GeoPoint& point) {
  return RowOf(point.lat) << kRowShift | ColumnOf(point.lng);
}

}  // namespace

void GeoColumn::Add(const GeoPoint& point, uint32_t slot) {
  cells_[CellOf(point)].push_back({point, slot});
  ++points_;
}

void GeoColumn::Remove(const GeoPoint& point, uint32_t slot) {
  const auto it = cells_.find(CellOf(point));
  if (it == cells_.end()) return;
  std::vector<Entry>& entries = it->second;
  const auto at = std::find_if(entries.begin(), entries.end(),
                               [&](const Entry& entry) { return entry.slot == slot; });
  if (at == entries.end()) return;
  *at = entries.back();
  entries.pop_back();
  --points_;
  if (entries.empty()) cells_.erase(it);
}

void GeoColumn::Within(const GeoArea& area, SlotCollector& out) const {
  const GeoBox& box = area.bounds;
  const uint32_t last_row = RowOf(box.north);
  // Columns [west, east] of each row, or two runs of them across the 180th meridian.
  const uint32_t west = ColumnOf(box.west);
  const uint32_t east = ColumnOf(box.east);
  const bool crosses = box.west > box.east;
  const auto scan = [&](uint32_t row, uint32_t first, uint32_t last) {
    const uint32_t end = row << kRowShift | last;
    for (auto it = cells_.lower_bound(row << kRowShift | first);
         it != cells_.end() && it->first <= end; ++it) {
      for (const Entry& entry : it->second) {
        if (area.Contains(entry.point)) out.Add(entry.slot);
      }
    }
  };
  // Rows without a cell are jumped over.
  for (auto row_start = cells_.lower_bound(RowOf(box.south) << kRowShift);
       row_start != cells_.end() && row_start->first >> kRowShift <= last_row;) {
    const uint32_t row = row_start->first >> kRowShift;
    if (crosses) {
      scan(row, 0, east);
      scan(row, std::max(west, east + 1), (1u << kRowShift) - 1);
    } else {
      scan(row, west, east);
    }
    row_start = cells_.lower_bound((row + 1) << kRowShift);
  }
}

}  // namespace imagesearch::index
