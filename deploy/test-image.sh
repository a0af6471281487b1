#!/usr/bin/env bash
# Builds deploy/Dockerfile and tries the image, on Debian 12 without a Docker engine: buildah in chroot isolation, on a
# base that debootstrap makes and that gets the base image's name. Checks: the size, the user, no write outside /data,
# ready, a text search from outside, `imagesearch health` inside, SIGTERM ends it with 0.
# Usage: deploy/test-image.sh [WORK_FOLDER]; needs root, buildah and debootstrap, about 10 GB and, at first, the time of a
# full build (JOBS=N bounds its jobs). The base and the compiler's cache stay in WORK_FOLDER for the next run; an existing
# ccache is used through CCACHE_DIR.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-/var/tmp/imagesearch-image}
base=docker.io/library/debian:bookworm-slim
image=localhost/imagesearchd:test
max_bytes=700000000
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
die() { echo "test-image: $*" >&2; exit 1; }
step() { printf '\n== %s (%s)\n' "$1" "$(date +%T)"; }

[ "$(id -u)" = 0 ] || die "needs root"
for tool in buildah debootstrap; do command -v $tool >/dev/null || die "needs $tool: deploy/install-deps.sh --image"; done
mkdir -p "$work"
buildah_() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }

if ! buildah_ images --quiet "$base" >/dev/null 2>&1; then
  step "Base image by debootstrap"
  mirror=$(apt-get indextargets --format '$(SITE)' | grep -m1 -v security)
  rm -rf "$work/root"
  debootstrap --variant=minbase bookworm "$work/root" "$mirror" >"$work/debootstrap.log"
  # Where this host's apt finds packages, and what the real image leaves out.
  cp -a /etc/apt/sources.list.d/. "$work/root/etc/apt/sources.list.d/" && rm -f "$work/root/etc/apt/sources.list"
  cp -a /etc/apt/apt.conf.d/. "$work/root/etc/apt/apt.conf.d/"
  [ ! -d /etc/apt/keyrings ] || cp -a /etc/apt/keyrings "$work/root/etc/apt/"
  [ ! -e /etc/apt/sources.list ] || cp /etc/apt/sources.list "$work/root/etc/apt/"
  rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* "$work"/root/usr/share/{doc,man,locale}/* "$work"/root/var/log/*
  from=$(buildah_ from scratch)
  buildah_ add --quiet "$from" "$work/root" / >/dev/null
  buildah_ commit --quiet "$from" "$base" >/dev/null
  buildah_ rm "$from" >/dev/null
  rm -rf "$work/root"
fi

step "Build context: the files of the repository, and .deps"
context=$work/context
rm -rf "$context" && mkdir -p "$context/.deps"
git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && xargs -0 cp --parents -t "$context" 2>/dev/null || true)
for part in libtorch googleapis; do
  [ ! -d "$root/.deps/$part" ] || cp -a "$root/.deps/$part/." "$context/.deps/$part/" 2>/dev/null || cp -a "$root/.deps/$part" "$context/.deps/$part"
done

step "Build"
cache=${CCACHE_DIR:-$work/ccache}
mkdir -p "$cache"
mounts=(--volume "$cache:/ccache")
# Where this host's pip finds packages. (Not /etc/ssl/certs: the build installs ca-certificates there.)
[ ! -e /etc/pip.conf ] || mounts+=(--volume /etc/pip.conf:/etc/pip.conf:ro)
buildah_ bud --quiet --format docker --pull-never --layers=false --ignorefile "$root/.dockerignore" -f "$context/deploy/Dockerfile" \
  --build-arg CCACHE_DIR=/ccache --build-arg JOBS="${JOBS:-}" "${mounts[@]}" -t "$image" "$context" >"$work/build.log" 2>&1 ||
  { tail -n 40 "$work/build.log" >&2; die "the build failed; all of it is in $work/build.log"; }
rm -rf "$context"

step "Size and configuration"
container=$(buildah_ from --pull-never "$image")
mounted=$(buildah_ mount "$container")
data=$work/data
server= pid=
cleanup() {
  [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
  [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
  buildah_ rm "$container" >/dev/null 2>&1 || true
  rm -rf "$data"
}
trap cleanup EXIT
bytes=$(du -sb --exclude=./proc "$mounted" | cut -f1)
echo "unpacked: $((bytes / 1000000)) MB"
[ "$bytes" -lt $max_bytes ] || die "the image has $bytes bytes; $max_bytes are the limit"
config=$(buildah_ inspect --type image "$image")
for want in '"User": "10001:10001"' '"StopSignal": "SIGTERM"' '"Healthcheck"'; do
  grep -q "$want" <<<"$config" || die "the image's configuration lacks $want"
done
[ -x "$mounted/usr/local/bin/imagesearch" ] || die "no imagesearch command in the image"
! find "$mounted/usr/local" -name 'libtorch_python*' | grep -q . || die "LibTorch is not pruned"

step "Run as uid 10001, everything but /data read-only to it"
rm -rf "$data" && mkdir -p "$data" && chown 10001:10001 "$data"
port=$((20000 + RANDOM % 20000)) http=$((20000 + RANDOM % 20000))
before=$(find "$mounted" -xdev -newer "$work/build.log" -type f | wc -l)
buildah_ run --volume "$data:/data" "$container" -- imagesearchd --listen 127.0.0.1:$port --http 127.0.0.1:$http \
  --port-file /data/port >"$work/server.log" 2>&1 &
server=$!
for _ in $(seq 600); do
  curl -fs "http://127.0.0.1:$http/readyz" >/dev/null 2>&1 && break
  kill -0 $server 2>/dev/null || { cat "$work/server.log" >&2; die "the server ended"; }
  sleep 0.5
done
curl -fs "http://127.0.0.1:$http/readyz" >/dev/null || { cat "$work/server.log" >&2; die "not ready within 300 s"; }
# buildah's own processes have the same words in their command lines.
for process in $(pgrep -f "imagesearchd --listen 127.0.0.1:$port"); do
  [ "$(cat "/proc/$process/comm" 2>/dev/null)" != imagesearchd ] || pid=$process
done
[ -n "$pid" ] || die "no process of that name"
[ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = 10001 ] || die "the server does not run as uid 10001"

step "A query from outside"
python3 - "$work/red.png" <<'END'
import struct, sys, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
rows = b"".join(b"\0" + b"\xd0\x10\x10" * 64 for _ in range(64))
open(sys.argv[1], "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)) +
                              chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
END
curl -fsS "http://127.0.0.1:$http/v1/upsert" -F 'images[0].id=red' -F "image=@$work/red.png" >/dev/null ||
  die "the upsert failed"
answer=$(curl -fsS "http://127.0.0.1:$http/v1/search" -H 'Content-Type: application/json' \
  -d '{"query": {"terms": [{"text": "a red square"}]}, "limit": 1}') || die "the search failed"
grep -q '"red"' <<<"$answer" || die "the search did not find the picture: $answer"
echo "$answer"
buildah_ run "$container" -- imagesearch --server 127.0.0.1:$port health ready || die "imagesearch health failed inside"

step "SIGTERM"
kill -TERM "$pid"
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.3; done
! kill -0 "$pid" 2>/dev/null || die "it runs on after SIGTERM"
grep -q '"stopped"' "$work/server.log" || { cat "$work/server.log" >&2; die "it did not stop in order"; }
wait "$server" && code=0 || code=$?
[ "$code" = 0 ] || die "it ended with $code"
after=$(find "$mounted" -xdev -newer "$work/build.log" -type f | wc -l)
[ "$after" -le "$((before + 2))" ] || die "it wrote outside /data"
server= pid=
echo
echo "test-image: passed; $((bytes / 1000000)) MB unpacked"
