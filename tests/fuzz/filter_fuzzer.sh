#!/usr/bin/env bash
# Builds the filter fuzzer with clang, libFuzzer, ASan and UBSan, and runs it.
# Usage: tests/fuzz/filter_fuzzer.sh [SECONDS, default 15] [folder for corpus and findings]
# Needs clang and libclang-rt-dev (Debian 12: clang libclang-rt-14-dev) beside what deploy/install-deps.sh installs.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:-15}
work=${2:-$root/build/fuzz/filter}
mkdir -p "$work/corpus"
packages="absl_status absl_statusor absl_strings absl_time absl_synchronization absl_flat_hash_map absl_btree absl_cord protobuf"
# -fno-sanitize=vptr: Debian's protobuf has no type information for it.
clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined \
  -I"$root" $(pkg-config --cflags $packages) \
  "$root/tests/fuzz/filter_fuzzer.cc" "$root"/index/filter/*.cc "$root/base/error.cc" \
  -o "$work/filter_fuzzer" -lroaring $(pkg-config --libs $packages)
cd "$work"
exec ./filter_fuzzer -max_total_time="$seconds" -max_len=2000 -dict="$root/tests/fuzz/filter.dict" corpus
