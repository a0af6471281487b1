// The tiers of duplicates as arguments and in output: bytes, picture, look-alike.
#ifndef IMAGESEARCH_CLIENT_COMMAND_DUPLICATE_TIERS_H_
#define IMAGESEARCH_CLIENT_COMMAND_DUPLICATE_TIERS_H_

#include <string>

#include "CLI/CLI.hpp"
#include "imagesearch/v1/types.pb.h"

namespace imagesearch::client {

// UNSPECIFIED for anything but the three names.
inline v1::DuplicateTier ParseTier(const std::string& name) {
  if (name == "bytes") return v1::SAME_BYTES;
  if (name == "picture") return v1::SAME_PICTURE;
  if (name == "look-alike") return v1::LOOK_ALIKE;
  return v1::DUPLICATE_TIER_UNSPECIFIED;
}

inline std::string TierName(v1::DuplicateTier tier) {
  switch (tier) {
    case v1::SAME_BYTES:
      return "bytes";
    case v1::SAME_PICTURE:
      return "picture";
    case v1::LOOK_ALIKE:
      return "look-alike";
    default:
      return "";
  }
}

// Takes one of the three names.
inline void AddTierOption(CLI::App* command, const std::string& flag, std::string* tier) {
  command
      ->add_option(
          flag, *tier,
          "What counts as a duplicate: bytes (the same file), picture (resized, compressed "
          "anew or cropped a little), look-alike (nearly equal vectors)")
      ->check(CLI::IsMember({"bytes", "picture", "look-alike"}))
      ->capture_default_str();
}

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_COMMAND_DUPLICATE_TIERS_H_
