#!/usr/bin/env bash
# Installs everything that building, testing and running imagesearchd needs on Debian 12 or 13:
# apt packages, LibTorch (unpacked from the PyPI wheel) and the google/rpc protos under .deps/.
# Usage: deploy/install-deps.sh [--tests | --image]; safe to run again, quick when nothing is missing.
# --tests adds what only tests need: chromium and its driver for the page, npm for the training recipe, openssl for
# certificates, strace for injected faults, clang for the fuzzers, HAProxy and nginx, and two Milvus servers from PyPI
# (.deps/milvus and .deps/milvus-lite, each a virtual environment of its own). --image adds buildah and debootstrap, with
# which deploy/test-image.sh builds the container image.
# Environment: LIBTORCH_DIR=DIR uses another LibTorch (a CUDA build, say) instead of the wheel's.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
deps=$root/.deps
torch_version=2.13.0
googleapis_version=1.76.0

die() { echo "install-deps: $*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else die "'$*' needs root: run as root, or install sudo"; fi; }

. /etc/os-release 2>/dev/null || true
case "${ID:-}:${VERSION_ID:-}" in
  debian:12 | debian:13) ;;
  *) echo "install-deps: warning: made for Debian 12 and 13, this is ${PRETTY_NAME:-unknown}; going on" >&2 ;;
esac

packages=(
  build-essential cmake ninja-build ccache pkg-config unzip ca-certificates python3 python3-venv python3-pip
  libgrpc++-dev libgrpc-dev protobuf-compiler-grpc protobuf-compiler libprotobuf-dev libabsl-dev
  libfaiss-dev libopenblas-dev libopenblas0-openmp librocksdb-dev libroaring-dev
  libjpeg62-turbo-dev libpng-dev libwebp-dev libgif-dev libicu-dev libheif-dev libarchive-dev libexif-dev libssl-dev
  nlohmann-json3-dev libspdlog-dev libcli11-dev libcpp-httplib-dev prometheus-cpp-dev
  libbenchmark-dev libgtest-dev libgmock-dev
)
case "${1:-}" in
  "") ;;
  --tests)
    packages+=(chromium chromium-driver haproxy nginx-light openssl strace clang libclang-rt-dev)
    command -v npm >/dev/null || packages+=(npm)
    ;;
  --image) packages+=(buildah debootstrap curl procps) ;;
  *) die "unknown option '$1' (there are --tests and --image)" ;;
esac
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "install-deps: installing ${missing[*]}"
  as_root apt-get update -qq || die "apt-get update failed: check the network and /etc/apt/sources.list"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    die "apt-get install failed for: ${missing[*]}"
fi

mkdir -p "$deps"
if [ -n "${LIBTORCH_DIR:-}" ]; then
  [ -e "$LIBTORCH_DIR/lib/libtorch_cpu.so" ] || die "LIBTORCH_DIR=$LIBTORCH_DIR holds no lib/libtorch_cpu.so"
  echo "install-deps: using LibTorch in $LIBTORCH_DIR"
elif [ "$(cat "$deps/libtorch/VERSION" 2>/dev/null)" != "$torch_version" ]; then
  echo "install-deps: fetching LibTorch $torch_version (the PyPI wheel torch==$torch_version)"
  rm -rf "$deps/wheel" "$deps/libtorch.new"
  mkdir -p "$deps/wheel" "$deps/libtorch.new"
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.11 -d "$deps/wheel" "torch==$torch_version" ||
    die "pip could not fetch torch==$torch_version; set LIBTORCH_DIR to an unpacked LibTorch $torch_version instead"
  # Left out: Python's parts; libgomp, since one process must have one and FAISS brings the system's; and protobuf's
  # headers, which are of another version than the protobuf that gRPC uses.
  unzip -q "$deps"/wheel/torch-*.whl 'torch/include/*' 'torch/lib/lib*.so*' -x '*/libtorch_python.so' '*/libtorchbind_test.so' \
    '*/libjitbackend_test.so' '*/libbackend_with_compiler.so' '*/libaoti_custom_ops.so' '*/libgomp*' '*/include/google/*' -d "$deps/libtorch.new"
  mv "$deps/libtorch.new/torch/include" "$deps/libtorch.new/torch/lib" "$deps/libtorch.new/"
  rmdir "$deps/libtorch.new/torch"
  echo "$torch_version" >"$deps/libtorch.new/VERSION"
  rm -rf "$deps/libtorch" "$deps/wheel"
  mv "$deps/libtorch.new" "$deps/libtorch"
fi

if [ ! -e "$deps/googleapis/google/rpc/error_details.proto" ]; then
  echo "install-deps: fetching the google/rpc protos (PyPI googleapis-common-protos)"
  rm -rf "$deps/wheel" && mkdir -p "$deps/wheel" "$deps/googleapis"
  python3 -m pip download -q --no-deps -d "$deps/wheel" "googleapis-common-protos==$googleapis_version" ||
    die "pip could not fetch googleapis-common-protos==$googleapis_version"
  unzip -qo "$deps"/wheel/googleapis_common_protos-*.whl 'google/rpc/*.proto' -d "$deps/googleapis"
  rm -rf "$deps/wheel"
fi

# milvus_server NAME REQUIREMENT...: a virtual environment .deps/NAME with exactly these.
milvus_server() {
  local venv=$deps/$1
  shift
  [ "$(cat "$venv/stamp" 2>/dev/null)" = "$*" ] && return
  echo "install-deps: fetching $* into .deps/$(basename "$venv")"
  rm -rf "$venv"
  python3 -m venv "$venv" || die "python3 -m venv failed: install python3-venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@" || die "pip could not install $*"
  echo "$*" >"$venv/stamp"
}
if [ "${1:-}" = --tests ]; then
  milvus_server milvus milvus==2.3.5
  milvus_server milvus-lite milvus-lite==3.2.2 pymilvus==3.0.2
fi
echo "install-deps: ready"
