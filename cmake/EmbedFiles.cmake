# Turns files into C++ arrays at build time. As a script (cmake -P, with FILES, NAMES and OUTPUT) it writes the source;
# included, it gives embed_files().

# embed_files(OUTPUT.cc NAMESPACE FILE...): OUTPUT defines, in NAMESPACE, `extern const EmbeddedFile kFiles[]` entries
# {file name, bytes, SHA-256 in hex} and their number. See client/web/assets.cc for a reader.
function(embed_files output namespace)
  string(REPLACE ";" "|" files "${ARGN}")
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} "-DFILES=${files}" -DNAMESPACE=${namespace} -DOUTPUT=${output}
            -P ${CMAKE_SOURCE_DIR}/cmake/EmbedFiles.cmake
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/EmbedFiles.cmake
    VERBATIM)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  string(REPLACE "|" ";" files "${FILES}")
  set(arrays "")
  set(entries "")
  set(count 0)
  foreach(file ${files})
    file(READ ${file} hex HEX)
    file(SHA256 ${file} hash)
    get_filename_component(name ${file} NAME)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
    string(REGEX REPLACE "(................................................................................)"
           "\\1\n" bytes "${bytes}")
    string(APPEND arrays "const unsigned char kBytes${count}[] = {\n${bytes}};\n")
    string(APPEND entries "    {\"${name}\", kBytes${count}, sizeof(kBytes${count}), \"${hash}\"},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  file(WRITE ${OUTPUT} "// Made by cmake/EmbedFiles.cmake.\n#include \"base/embedded_file.h\"\n\n"
       "namespace ${NAMESPACE} {\nnamespace {\n${arrays}}  // namespace\n\n"
       "extern const ::imagesearch::EmbeddedFile kFiles[];\nconst ::imagesearch::EmbeddedFile kFiles[] = {\n${entries}};\n"
       "extern const int kFileCount;\nconst int kFileCount = ${count};\n}  // namespace ${NAMESPACE}\n")
endif()
