// A 64-bit hash of what a picture looks like: pictures that were resized, compressed anew or
// cropped a little have hashes that differ in few bits.
#ifndef IMAGESEARCH_ENCODER_IMAGE_PERCEPTUAL_HASH_H_
#define IMAGESEARCH_ENCODER_IMAGE_PERCEPTUAL_HASH_H_

#include <cstdint>
#include <optional>

#include "encoder/image/image.h"

namespace imagesearch::encoder {

// The DCT hash of Zauner 2010 ("Implementation and benchmarking of perceptual image hash
// functions", section 3.2.1): luma (ITU-R BT.601) at 32 x 32, its two-dimensional DCT-II, the 8 x 8
// lowest frequencies without the row and the column of the constant one, a bit for each that is
// above their median; bit 0 is the lowest frequency, rows first. Nullopt for a picture that is as
// good as one colour, or varies along one side only (stripes): its bits would be noise. `upright`
// is not empty. Thread-safe.
std::optional<uint64_t> PerceptualHash(const RgbView& upright);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_PERCEPTUAL_HASH_H_
