// Metadata in the form that Milvus' expressions can ask about without surprises: by path and type.
//
// Milvus compares JSON values of different types, missing ones and lists in ways that differ
// between its releases. So beside the metadata a second JSON column, `terms`, holds them taken
// apart; paths are those of filters, encoded to ASCII (EncodePath):
//   {"n": {path: number}, "s": {path: text}, "t": {path: microseconds of a text that is a time},
//    "c": {path: [term, ...]}}
// The terms of a scalar: "=" and its ValueTerm (two for a text that is a time). Of a list: "l", and
// for each scalar in it ":" and its ValueTerm. Of a struct: "o", and ":" with the term of each key.
#ifndef IMAGESEARCH_INDEX_MILVUS_TERMS_H_
#define IMAGESEARCH_INDEX_MILVUS_TERMS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/struct.pb.h"
#include "index/filter/expression.h"

namespace imagesearch::index {

// The JSON of the column `terms`.
std::string TermsJson(const google::protobuf::Struct& metadata);

// Keys joined by '.', with every byte of them that is not a letter, a digit or _ as %XX; an empty
// key is %.
std::string EncodePath(const std::vector<std::string>& keys);

// "s" and a text, "n" and a number with 17 digits, "b0", "b1", "z" for null, "t" and a moment's
// microseconds. The literal is no Pattern.
std::string ValueTerm(const Literal& literal);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_MILVUS_TERMS_H_
