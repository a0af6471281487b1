# Installs the client library into a folder of its own, then builds and runs the project beside this
# file against it. Variables: BUILD (the build tree), WORK (a folder to fill), GENERATOR, CXX.
foreach(step
    "-DCMAKE_INSTALL_PREFIX=${WORK}/installed;-P;${BUILD}/client/cmake_install.cmake"
    "-S;${CMAKE_CURRENT_LIST_DIR};-B;${WORK}/build;-G;${GENERATOR};-DCMAKE_CXX_COMPILER=${CXX};-DCMAKE_PREFIX_PATH=${WORK}/installed"
    "--build;${WORK}/build")
  execute_process(COMMAND ${CMAKE_COMMAND} ${step} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
execute_process(COMMAND ${WORK}/build/uses_imagesearch OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
if(NOT output STREQUAL "UNAVAILABLE\n")
  message(FATAL_ERROR "expected UNAVAILABLE, got: ${output}")
endif()
