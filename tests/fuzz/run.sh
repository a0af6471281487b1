#!/usr/bin/env bash
# Builds and runs the fuzzers with clang's libFuzzer, ASan and UBSan; prints how often each ran its target. Stops at the
# first finding; its input lies in build/fuzz/findings. Corpora grow in build/fuzz/corpus from seeds of our own (seeds.cc).
# Usage: tests/fuzz/run.sh [SECONDS for each, default 15; 0: only build] [NAME...]
#   NAME: image tokenizer checkpoint filter snapshot backup request; none: all, one after the other.
# Needs what deploy/install-deps.sh --tests installs. JOBS=N bounds the compilers.
set -euo pipefail
folder=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$folder/../.." && pwd)
build=$root/build/fuzz
seconds=${1:-15}
shift || true
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(image tokenizer checkpoint filter snapshot backup request)

export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
(
  flock 9
  launcher=$(command -v ccache || true)
  cmake -S "$folder" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
    ${launcher:+-DCMAKE_CXX_COMPILER_LAUNCHER=$launcher} >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
  cmake --build "$build" -j "${JOBS:-$(nproc)}" --target seeds $(printf '%s_fuzzer ' "${names[@]}") >"$build.log" 2>&1 ||
    { tail -n 60 "$build.log"; exit 1; }
) 9>"$(mkdir -p "$build" && echo "$build/lock")"
[ "$seconds" != 0 ] || exit 0

mkdir -p "$build/findings"
work=$(mktemp -d /dev/shm/imagesearch-fuzz.XXXXXX)  # in memory: a disk would be the bottleneck
trap 'rm -rf "$work"' EXIT
for name in "${names[@]}"; do
  corpus=$build/corpus/$name seeds=$work/seeds/$name
  mkdir -p "$corpus" "$seeds"
  "$build/seeds" "$name" "$seeds"
  options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$build/findings/$name-" -print_final_stats=1)
  [ ! -e "$folder/$name.dict" ] || options+=(-dict="$folder/$name.dict")
  case $name in
    tokenizer) options+=(-max_len=1024) ;;
    filter) options+=(-max_len=2000) ;;
    snapshot) options+=(-max_len=65536) ;;
    *) options+=(-max_len=4096) ;;
  esac
  log=$build/$name.log
  if ! (cd "$work" && "$build/${name}_fuzzer" "${options[@]}" "$corpus" "$seeds") >"$log" 2>&1; then
    grep -v '^#' "$log" | tail -n 60
    echo "$name: a finding, see $build/findings" >&2
    exit 1
  fi
  ran=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  echo "$name: $ran executions in $seconds s, $covered edges, $(find "$seeds" -type f | wc -l) seeds," \
    "corpus $(find "$corpus" -type f | wc -l), no finding"
  # Fewer means that the fuzzer did not reach its target, or that a run takes far too long.
  [ "$ran" -ge $((seconds * 5)) ] || { echo "$name: void: only $ran executions" >&2; exit 1; }
done
