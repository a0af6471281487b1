// Column by column.
#include "index/milvus/row.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "google/protobuf/util/json_util.h"
#include "index/milvus/terms.h"

namespace imagesearch::index {
namespace {

// Of a JSON value and of a VARCHAR in Milvus.
constexpr size_t kMaxJsonBytes = 65'536;
constexpr int kMaxHashBytes = 256;

void AddField(pb::CollectionSchema* schema, const char* name, pb::DataType type,
              const char* parameter, int value) {
  pb::FieldSchema* field = schema->add_fields();
  field->set_field_id(99 + schema->fields_size());  // 0 to 99 are Milvus' own
  field->set_name(name);
  field->set_data_type(type);
  if (parameter == nullptr) return;
  pb::KeyValuePair* pair = field->add_type_params();
  pair->set_key(parameter);
  pair->set_value(absl::StrCat(value));
}

pb::ScalarField* AddScalars(google::protobuf::RepeatedPtrField<pb::FieldData>* columns,
                            const char* name, pb::DataType type) {
  pb::FieldData* column = columns->Add();
  column->set_field_name(name);
  column->set_type(type);
  return column->mutable_scalars();
}

absl::Status Misfit(absl::string_view what) {
  return Error(absl::StatusCode::kInternal, "MILVUS_ERROR",
               absl::StrCat("the rows that Milvus returned don't fit together: ", what));
}

// The column of this name, or null.
const pb::FieldData* Find(const google::protobuf::RepeatedPtrField<pb::FieldData>& columns,
                          absl::string_view name) {
  for (const pb::FieldData& column : columns) {
    if (column.field_name() == name) return &column;
  }
  return nullptr;
}

}  // namespace

pb::CollectionSchema MakeSchema(const std::string& name, int dimension) {
  pb::CollectionSchema schema;
  schema.set_name(name);
  AddField(&schema, "id", pb::VARCHAR, "max_length", kMaxIdBytes);
  schema.mutable_fields(0)->set_is_primary_key(true);
  AddField(&schema, kVectorColumn, pb::FLOAT_VECTOR, "dim", dimension);
  AddField(&schema, "metadata", pb::JSON, nullptr, 0);
  AddField(&schema, "terms", pb::JSON, nullptr, 0);
  AddField(&schema, "expires", pb::INT64, nullptr, 0);
  AddField(&schema, "hash", pb::VARCHAR, "max_length", kMaxHashBytes);
  AddField(&schema, "version", pb::INT64, nullptr, 0);
  return schema;
}

uint64_t Row::bytes() const {
  return id.size() + vector.size() * sizeof(float) + metadata_json.size() + terms_json.size() +
         hash.size() + 64;
}

int64_t ExpiresOf(absl::Time time) {
  if (time == absl::InfiniteFuture()) return kNever;
  return std::max<int64_t>(absl::ToUnixMicros(time), 0);
}

absl::Status SetMetadata(const google::protobuf::Struct& metadata, Row* row) {
  row->metadata_json.clear();
  const auto status = google::protobuf::util::MessageToJsonString(metadata, &row->metadata_json);
  if (!status.ok()) {
    return InvalidArgument("BAD_METADATA", absl::StrCat("the metadata can't be written as JSON: ",
                                                        std::string(status.message())));
  }
  row->terms_json = TermsJson(metadata);
  const size_t largest = std::max(row->metadata_json.size(), row->terms_json.size());
  if (largest > kMaxJsonBytes) {
    return InvalidArgument("METADATA_TOO_LARGE",
                           absl::StrCat("the metadata take ", largest,
                                        " bytes as JSON, Milvus keeps ", kMaxJsonBytes));
  }
  return absl::OkStatus();
}

void FillColumns(absl::Span<const Row> rows, int dimension,
                 google::protobuf::RepeatedPtrField<pb::FieldData>* columns) {
  auto* ids = AddScalars(columns, "id", pb::VARCHAR)->mutable_string_data();
  auto* metadata = AddScalars(columns, "metadata", pb::JSON)->mutable_json_data();
  auto* terms = AddScalars(columns, "terms", pb::JSON)->mutable_json_data();
  auto* expires = AddScalars(columns, "expires", pb::INT64)->mutable_long_data();
  auto* hashes = AddScalars(columns, "hash", pb::VARCHAR)->mutable_string_data();
  auto* versions = AddScalars(columns, "version", pb::INT64)->mutable_long_data();
  pb::FieldData* vectors = columns->Add();
  vectors->set_field_name(kVectorColumn);
  vectors->set_type(pb::FLOAT_VECTOR);
  vectors->mutable_vectors()->set_dim(dimension);
  auto* values = vectors->mutable_vectors()->mutable_float_vector()->mutable_data();
  values->Reserve(static_cast<int>(rows.size()) * dimension);
  for (const Row& row : rows) {
    ids->add_data(row.id);
    metadata->add_data(row.metadata_json);
    terms->add_data(row.terms_json);
    expires->add_data(row.expires);
    hashes->add_data(row.hash);
    versions->add_data(static_cast<int64_t>(row.version));
    values->Add(row.vector.begin(), row.vector.end());
  }
}

std::vector<std::string> RecordColumns(bool with_vector) {
  std::vector<std::string> names = {"id", "metadata", "expires", "hash", "version"};
  if (with_vector) names.push_back(kVectorColumn);
  return names;
}

absl::StatusOr<std::vector<Record>> ToRecords(
    const google::protobuf::RepeatedPtrField<pb::FieldData>& columns, int dimension,
    bool with_vector) {
  std::vector<Record> records;
  if (columns.empty()) return records;
  const pb::FieldData* found[6] = {};
  const std::vector<std::string> names = RecordColumns(with_vector);
  for (size_t i = 0; i < names.size(); ++i) {
    found[i] = Find(columns, names[i]);
    if (found[i] == nullptr) return Misfit(absl::StrCat("no column ", names[i]));
  }
  const auto& ids = found[0]->scalars().string_data().data();
  const auto& metadata = found[1]->scalars().json_data().data();
  const auto& expires = found[2]->scalars().long_data().data();
  const auto& hashes = found[3]->scalars().string_data().data();
  const auto& versions = found[4]->scalars().long_data().data();
  const int count = ids.size();
  if (metadata.size() != count || expires.size() != count || hashes.size() != count ||
      versions.size() != count) {
    return Misfit("columns of different lengths");
  }
  const float* values = nullptr;
  if (with_vector) {
    const auto& data = found[5]->vectors().float_vector().data();
    if (data.size() != int64_t{count} * dimension) return Misfit("vectors of another dimension");
    values = data.data();
  }
  records.resize(count);
  for (int i = 0; i < count; ++i) {
    Record& record = records[i];
    record.id = ids[i];
    if (!google::protobuf::util::JsonStringToMessage(metadata[i], &record.metadata).ok()) {
      return Misfit(absl::StrCat("the metadata of image '", record.id, "' are no JSON object"));
    }
    if (expires[i] != kNever) record.expire_time = absl::FromUnixMicros(expires[i]);
    record.content_hash = hashes[i];
    record.version = static_cast<uint64_t>(versions[i]);
    if (with_vector)
      record.vector.assign(values + int64_t{i} * dimension, values + int64_t{i + 1} * dimension);
  }
  return records;
}

}  // namespace imagesearch::index
