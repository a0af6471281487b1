#!/usr/bin/env bash
# Builds the fuzzers of checkpoints, index files and requests with clang, libFuzzer, ASan and UBSan, and runs each.
# Usage: tests/fuzz/input_fuzzers.sh [SECONDS for each, default 15] [folder for corpora and findings]
# Needs clang and libclang-rt-dev beside what deploy/install-deps.sh installs.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:-15}
work=${2:-$root/build/fuzz/input}
mkdir -p "$work"/{gen,checkpoint,store,request}
cd "$work"
packages="absl_status absl_statusor absl_strings absl_time absl_flat_hash_map absl_cord protobuf grpc++"
libraries="libjpeg libpng libwebp libwebpdemux"
protoc -I "$root/proto" -I "$root/.deps/googleapis" -I "$root" --cpp_out=gen imagesearch/v1/types.proto \
  imagesearch/v1/imagesearch.proto google/rpc/status.proto google/rpc/error_details.proto index/store/records.proto
flags=(-std=c++20 -O1 -g -w -I"$root" -Igen $(pkg-config --cflags $packages $libraries))
# -fno-sanitize=vptr: Debian's protobuf has no type information for it.
checks=(-fsanitize=fuzzer,address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined)
libs=($(pkg-config --libs $packages $libraries))
clip=$root/encoder/clip store=$root/index/store server=$root/server
clang++ "${flags[@]}" "${checks[@]}" "$root/tests/fuzz/checkpoint_fuzzer.cc" "$clip"/{config,config_hugging_face,config_open_clip,json_object,mapped_file,safetensors}.cc \
  "$root/base/error.cc" -o checkpoint_fuzzer "${libs[@]}" -lcrypto &
clang++ "${flags[@]}" "${checks[@]}" "$root/tests/fuzz/store_fuzzer.cc" "$store"/{checked_file,crc32c,data_folder,rocks_status,row_file}.cc \
  gen/index/store/records.pb.cc "$root/base/error.cc" -o store_fuzzer -lrocksdb "${libs[@]}" &
wait %1 && wait %2
clang++ "${flags[@]}" "${checks[@]}" "$root/tests/fuzz/request_fuzzer.cc" "$server"/{http/json,http/form,grpc/request_parser,grpc_status,utf8}.cc \
  gen/imagesearch/v1/*.pb.cc gen/google/rpc/*.pb.cc "$root/base/error.cc" -o request_fuzzer "${libs[@]}"
trap 'rm -rf /dev/shm/checkpoint_fuzzer_* /dev/shm/store_fuzzer_*' EXIT
./checkpoint_fuzzer -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -dict="$root/tests/fuzz/checkpoint.dict" checkpoint
./store_fuzzer -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 store
./request_fuzzer -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -dict="$root/tests/fuzz/request.dict" request
