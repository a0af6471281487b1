#!/usr/bin/env bash
# Builds with a sanitizer and runs the suites that it is for.
#   tests/sanitize.sh thread [CTEST OPTION...]    ThreadSanitizer over the concurrent suites
#   tests/sanitize.sh address [CTEST OPTION...]   AddressSanitizer and UBSan over the suites without LibTorch
#   tests/sanitize.sh annotations                 clang's -Wthread-safety over the whole tree: no build, no run
# JOBS=N bounds the compilers.
set -euo pipefail
cd "$(dirname "$0")/.."
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
kind=${1:?thread, address or annotations}
shift
jobs=${JOBS:-$(nproc)}
concurrent="base_api_key_test encoder_batching_encoder_test index_conformance_test index_model_test index_update_test
  index_power_loss_test server_access_test server_limits_test server_lifecycle_test server_service_test server_http_server_test"
case $kind in
  thread)
    cmake --preset tsan -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >/dev/null
    cmake --build --preset tsan -j "$jobs" --target $concurrent
    export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp halt_on_error=0 second_deadlock_stack=1 history_size=4"
    # FAISS's OpenMP is not instrumented; one thread leaves its synchronisation out of the picture.
    export OMP_NUM_THREADS=1
    ctest --preset tsan -R "^($(echo $concurrent | tr -s ' ' '|'))\$" --timeout 1800 "$@"
    ;;
  address)
    suites="$concurrent base_error_test index_filter_parser_test index_filter_matches_test index_recovery_test index_store_files_test
      index_ann_index_test server_http_message_test server_status_test server_content_test encoder_image_preprocess_test
      encoder_text_tokenizer_test"
    cmake --preset asan -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >/dev/null
    cmake --build --preset asan -j "$jobs" --target $suites
    export ASAN_OPTIONS="detect_stack_use_after_return=1 strict_string_checks=1" UBSAN_OPTIONS="print_stacktrace=1 halt_on_error=1"
    ctest --preset asan -R "^($(echo $suites | tr -s ' ' '|'))\$" --timeout 1800 "$@"
    ;;
  annotations)
    # The generated headers come from a build; build/release has them.
    [ -e build/release/compile_commands.json ] || { echo "build once: cmake --preset release && cmake --build --preset release" >&2; exit 2; }
    python3 - "$jobs" <<'PYTHON'
import concurrent.futures, json, os, re, shlex, subprocess, sys, tempfile
root = os.getcwd()
# FAISS's headers want omp.h, which clang has only with its own OpenMP: GCC's, without the attribute that clang does not know.
omp = tempfile.TemporaryDirectory()
path = subprocess.run(["gcc", "-print-file-name=include/omp.h"], capture_output=True, text=True, check=True).stdout.strip()
with open(f"{omp.name}/omp.h", "w") as header:
    header.write(open(path).read().replace("__malloc__ (omp_free)", "__malloc__"))
flags = ["-fsyntax-only", "-w", "-Wthread-safety", "-Werror=thread-safety", "-I", omp.name]
# A check that finds nothing anywhere is no check.
bad_unit = """#include "base/mutex.h"
struct Counter { imagesearch::Mutex mutex; int n ABSL_GUARDED_BY(mutex) = 0; };
int Read(Counter& counter) { return counter.n; }
"""
probe = subprocess.run(["clang++", "-std=c++20", "-x", "c++", "-", "-I.", *flags], input=bad_unit, capture_output=True, text=True)
if "requires holding mutex" not in probe.stderr:
    sys.exit(f"void: an unguarded read was not noticed\n{probe.stderr}")
units = {}
for entry in json.load(open("build/release/compile_commands.json")):
    path = os.path.relpath(entry["file"], root)
    if re.match(r"(base|client|encoder|index|server|tests)/", path):
        units[path] = entry
def check(path):
    entry = units[path]
    words = shlex.split(entry["command"])
    words = [w for w in words if not w.endswith("ccache")]
    out = words.index("-o")
    words = ["clang++"] + [w for w in words[1:out] + words[out + 2:] if not w.startswith(("-march", "-M")) and w != "-MD"]
    words = [w for i, w in enumerate(words) if not w.endswith((".o.d", ".o"))]
    done = subprocess.run(words + flags, cwd=entry["directory"], capture_output=True, text=True)
    return path, done.returncode, done.stderr
bad = 0
with concurrent.futures.ThreadPoolExecutor(int(sys.argv[1])) as pool:
    for path, code, text in pool.map(check, sorted(units)):
        if code:
            bad += 1
            print(f"{path}:\n{text}")
print(f"{len(units)} files, {bad} with findings")
sys.exit(bad > 0)
PYTHON
    ;;
  *)
    echo "thread, address or annotations" >&2
    exit 2
    ;;
esac
