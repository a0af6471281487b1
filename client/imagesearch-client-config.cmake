# find_package(imagesearch-client): the target imagesearch::imagesearch_client.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(Protobuf)
find_dependency(gRPC CONFIG)
find_dependency(absl CONFIG)
include(${CMAKE_CURRENT_LIST_DIR}/imagesearch-client-targets.cmake)
