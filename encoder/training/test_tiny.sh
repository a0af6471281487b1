#!/usr/bin/env bash
# Runs the whole recipe with a few pictures and 2 steps and checks the checkpoint that comes out; exit code 0 means
# it holds. TRAINING_WORK keeps its packages between runs; VENV names a ready Python environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
keep=${TRAINING_WORK:-}
work=${keep:-$(mktemp -d)}
[ -n "$keep" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work"
rm -rf "$work"/{pics,tokenizer,text,features,sets,out} "$work"/*.pt
"$here/train.sh" --tiny --tune-text --work "$work" --out "$work/out"
(cd "$work/out" && sha256sum --quiet -c SHA256SUMS)
cd "$here"
PYTHONDONTWRITEBYTECODE=1 "${VENV:-$work/venv}/bin/python" check_checkpoint.py "$work/out"
echo "tiny training run: ok"
