#!/usr/bin/env bash
# Builds and runs every fuzzer; prints how often each ran its target. Stops at the first finding.
# Usage: tests/fuzz/run.sh [SECONDS for each, default 15]; long: tests/fuzz/run.sh 3600
set -euo pipefail
folder=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for script in encoder_fuzzers filter_fuzzer input_fuzzers; do
  if ! "$folder/$script.sh" "${1:-15}" >"$log" 2>&1; then
    tail -n 60 "$log"
    exit 1
  fi
  echo "$script: $(grep -c '^Done' "$log") fuzzers without a finding: $(grep '^Done' "$log" | tr '\n' ';')"
done
