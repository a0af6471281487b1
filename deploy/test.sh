#!/usr/bin/env bash
# Builds everything from a fresh clone and runs every test; CI runs exactly this. Ends with ctest's summary, and
# with its exit code. Needs Debian 12 or 13, and root or sudo for what is not installed yet.
# Usage: deploy/test.sh [CTEST OPTION...], for example: deploy/test.sh -R client
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%s)\n' "$1" "$(date +%T)"; }
trap 'echo "test.sh: stopped while: $doing" >&2' ERR

doing="installing dependencies (deploy/install-deps.sh --tests)"
step "Dependencies"
deploy/install-deps.sh --tests

doing="installing the Python reference (tests/reference/setup.sh)"
step "Python reference implementations"
tests/reference/setup.sh

# Objects in ccache fit any checkout of this repository, wherever it lies.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

doing="configuring (cmake --preset release)"
step "Configure"
cmake --preset release

doing="building (cmake --build --preset release)"
step "Build"
cmake --build --preset release

doing="testing (ctest --preset release)"
step "Test"
ctest --preset release -j "$(nproc)" "$@"
