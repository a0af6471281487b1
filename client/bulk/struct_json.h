// google.protobuf.Struct (metadata) to and from nlohmann::json.
#ifndef IMAGESEARCH_CLIENT_BULK_STRUCT_JSON_H_
#define IMAGESEARCH_CLIENT_BULK_STRUCT_JSON_H_

#include "google/protobuf/struct.pb.h"
#include "nlohmann/json.hpp"

namespace imagesearch::client {

// Keys sorted; whole numbers without ".0".
nlohmann::ordered_json ToJson(const google::protobuf::Struct& metadata);

nlohmann::ordered_json ToJson(const google::protobuf::Value& value);

// The members of an object as metadata, added to what is there. False when `json` is no object.
bool FromJson(const nlohmann::ordered_json& json, google::protobuf::Struct* metadata);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_BULK_STRUCT_JSON_H_
