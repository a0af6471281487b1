#!/usr/bin/env bash
# Every C++ file is as clang-format 14 leaves it (.clang-format). Mend with: clang-format -i FILE.
# Usage: format_test.sh CLANG_FORMAT
set -euo pipefail
cd "$(dirname "$0")/../.."
find base encoder index server client tests \( -name '*.cc' -o -name '*.h' \) -print0 | xargs -0 "$1" --dry-run -Werror
