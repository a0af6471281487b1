#!/usr/bin/env bash
# Makes the Python that reference tests compare with: a virtual environment in .deps/reference, all
# versions pinned. Usage: tests/reference/setup.sh; safe to run again, quick when nothing changed.
# Environment: PYTHON=python3.11 picks the interpreter that makes it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/.deps/reference

die() { echo "reference/setup: $*" >&2; exit 1; }

stamp=$(cat "$here/requirements.txt" "$here/requirements-nodeps.txt" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/stamp" 2>/dev/null)" = "$stamp" ]; then
  echo "reference/setup: ready"
  exit 0
fi

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "needs Python 3.10 or newer; set PYTHON"
rm -rf "$venv"
"$python" -m venv "$venv" || die "$python -m venv failed: install python3-venv"
echo "reference/setup: installing into .deps/reference (some minutes the first time)"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$here/requirements.txt" ||
  die "pip could not install requirements.txt"
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps -r "$here/requirements-nodeps.txt" ||
  die "pip could not install requirements-nodeps.txt"
echo "$stamp" >"$venv/stamp"
echo "reference/setup: ready"
