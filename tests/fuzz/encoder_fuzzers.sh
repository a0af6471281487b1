#!/usr/bin/env bash
# Builds the fuzzers of image decoding and of the tokenizer's readers with clang, libFuzzer, ASan and UBSan, and runs
# each. Usage: tests/fuzz/encoder_fuzzers.sh [SECONDS for each, default 15] [folder for corpora and findings]
# Needs clang and libclang-rt-dev (Debian 12: clang libclang-rt-14-dev) beside what deploy/install-deps.sh installs.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:-15}
work=${2:-$root/build/fuzz/encoder}
mkdir -p "$work/image" "$work/tokenizer"
cd "$work"
packages="absl_status absl_statusor absl_strings absl_time absl_flat_hash_map absl_cord"
libraries="libjpeg libpng libwebp libwebpdemux icu-uc zlib"
flags=(-std=c++20 -O1 -g -I"$root" $(pkg-config --cflags $packages $libraries))
checks=(-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
libs=($(pkg-config --libs $packages $libraries))
clang++ "${flags[@]}" "$root/tests/fuzz/image_seeds.cc" "$root/tests/encoder/image/made_images.cc" -o image_seeds "${libs[@]}"
clang++ "${flags[@]}" "${checks[@]}" "$root/tests/fuzz/image_fuzzer.cc" "$root"/encoder/image/*.cc "$root/base/error.cc" \
  -o image_fuzzer "${libs[@]}"
clang++ "${flags[@]}" "${checks[@]}" "$root/tests/fuzz/tokenizer_fuzzer.cc" "$root"/encoder/text/*.cc "$root/base/error.cc" \
  -o tokenizer_fuzzer "${libs[@]}"
./image_seeds image
./image_fuzzer -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 image
./tokenizer_fuzzer -max_total_time="$seconds" -max_len=1024 -timeout=10 -dict="$root/tests/fuzz/tokenizer.dict" tokenizer
