#!/usr/bin/env bash
# The bare encoder beside transformers, ONNX Runtime and OpenVINO, in one run on one checkpoint.
# Usage: tests/bench/encode_peers.sh [MODEL_DIR] [options of encode_peers.py]
# MODEL_DIR defaults to a random checkpoint of the size of ViT-B/32, which is made under build/ the
# first time. The peers are installed from PyPI into .deps/peers, beside the packages of
# .deps/reference (tests/reference/setup.sh). Environment: BUILD=build/release.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/${BUILD:-build/release}
venv=$root/.deps/peers

die() { echo "encode_peers: $*" >&2; exit 1; }

"$root/tests/reference/setup.sh"
stamp=$(cat "$here/peers-requirements.txt" "$root/.deps/reference/stamp" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
  echo "encode_peers: installing the peers into .deps/peers"
  rm -rf "$venv"
  "$root/.deps/reference/bin/python" -m venv "$venv" || die "can't make $venv"
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$root/.deps/reference/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/reference.pth"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$here/peers-requirements.txt" || die "pip failed"
  echo "$stamp" >"$venv/stamp"
fi
cmake --build "$build" --target encode_bench encode_tool >/dev/null || die "the build failed"
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
  model=$1
  shift
else
  model=$root/build/bench-vit-b32
  "$venv/bin/python" "$here/make_checkpoint.py" "$model"
fi
exec "$venv/bin/python" "$here/encode_peers.py" "$model" --bench "$build/tests/bench/encode_bench" \
  --tool "$build/tests/reference/encode_tool" "$@"
