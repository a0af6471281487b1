# Everything the rooms link. LibTorch is taken by path as imported targets of our own, so that a libtorch installed
# from Debian can't slip in: the wheel's CMake files would find Debian's libc10 first and link both.
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json REQUIRED)

set(_libtorch_default ${CMAKE_SOURCE_DIR}/.deps/libtorch)
if(DEFINED ENV{LIBTORCH_DIR} AND NOT "$ENV{LIBTORCH_DIR}" STREQUAL "")
  set(_libtorch_default $ENV{LIBTORCH_DIR})
endif()
set(LIBTORCH_DIR ${_libtorch_default} CACHE PATH "LibTorch: a folder with include/ and lib/")
if(NOT EXISTS ${LIBTORCH_DIR}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "No LibTorch in ${LIBTORCH_DIR}. Run deploy/install-deps.sh, or set LIBTORCH_DIR.")
endif()
file(REAL_PATH ${LIBTORCH_DIR}/lib _libtorch_lib)
if(_libtorch_lib MATCHES "^/usr/lib/(x86_64|aarch64)-linux-gnu")
  message(FATAL_ERROR "LIBTORCH_DIR is ${LIBTORCH_DIR}, Debian's own libtorch: too old and slow for this project. "
                      "Run deploy/install-deps.sh and leave LIBTORCH_DIR unset.")
endif()
add_library(libtorch INTERFACE)
# Before the system's include folders, where Debian's libtorch-dev would be found.
target_include_directories(libtorch BEFORE INTERFACE ${LIBTORCH_DIR}/include
                           ${LIBTORCH_DIR}/include/torch/csrc/api/include)
target_link_libraries(libtorch INTERFACE ${LIBTORCH_DIR}/lib/libtorch_cpu.so ${LIBTORCH_DIR}/lib/libc10.so)
if(EXISTS ${LIBTORCH_DIR}/lib/libtorch_cuda.so)
  target_link_libraries(libtorch INTERFACE -Wl,--no-as-needed ${LIBTORCH_DIR}/lib/libtorch_cuda.so
                        ${LIBTORCH_DIR}/lib/libc10_cuda.so -Wl,--as-needed)
endif()

# Debian's FAISS is static: its BLAS and OpenMP are linked here.
find_library(FAISS_LIBRARY faiss REQUIRED)
find_library(OPENBLAS_LIBRARY openblas REQUIRED)
add_library(faiss_static INTERFACE)
target_link_libraries(faiss_static INTERFACE ${FAISS_LIBRARY} ${OPENBLAS_LIBRARY} gomp)

find_library(ROCKSDB_LIBRARY rocksdb REQUIRED)
find_library(ROARING_LIBRARY roaring REQUIRED)

# google/rpc protos (deploy/install-deps.sh unpacks them from PyPI's googleapis-common-protos).
set(GOOGLEAPIS_DIR ${CMAKE_SOURCE_DIR}/.deps/googleapis CACHE PATH "A folder with google/rpc/*.proto")
if(NOT EXISTS ${GOOGLEAPIS_DIR}/google/rpc/error_details.proto)
  message(FATAL_ERROR "No google/rpc protos in ${GOOGLEAPIS_DIR}. Run deploy/install-deps.sh.")
endif()
