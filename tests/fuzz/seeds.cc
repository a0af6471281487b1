// Writes the inputs that a fuzzer begins with. Usage: seeds FUZZER FOLDER
#include "tests/fuzz/seeds.h"

#include <cstdio>
#include <fstream>

#include "google/protobuf/util/json_util.h"
#include "imagesearch/v1/imagesearch.pb.h"

namespace imagesearch::fuzz {
namespace {

std::vector<std::string> FilterSeeds() {
  return {
      R"(a = 1 AND b = "x" OR NOT has(t))",
      R"(tags:"cat" AND a in (1, "1", true, null))",
      R"(t >= 2024-05-01 AND t < 2024-05-01T12:00:00+02:00)",
      R"(b.a > -3.5e0 OR b = "*x*" OR starts_with(b, "x"))",
      R"(geo_within(p, 48.5, 2.25, 1000) OR geo_box(p, -91, 179, 10, -179))",
      R"(id in ["a/0", 'b'] AND -(`a` != 1) AND (((t = null))))",
      R"(a = "\u0041\*\n" OR a:* OR id = "a/*")",
  };
}

// The first byte chooses the file; 0x80 and above: a text.
std::vector<std::string> TokenizerSeeds() {
  return {
      std::string("\0", 1) +
          R"({"model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {"a": 0, "b": 1,)"
          R"( "a</w>": 2, "b</w>": 3, "ab": 4, "ab</w>": 5, "<|startoftext|>": 6,)"
          R"( "<|endoftext|>": 7}, "merges": ["a b", "a b</w>"]}, "added_tokens": []})",
      std::string("\1") + R"({"a":0,"b":1,"<|startoftext|>":2,"<|endoftext|>":3})",
      std::string("\2") + "#version: 0.2\na b\na b</w>\n",
      std::string("\3") + R"({"model_max_length": 77, "do_lower_case": true})",
      std::string("\4") + R"({"pad_token": "<|endoftext|>", "eos_token": {"content": "x"}})",
      std::string("\5") + R"({"<|new|>": 8})",
      "\x80"
      "ab AB  a&amp;b <|endoftext|> \xF0\x9F\x90\xB1 \xCC\x81",
      "\x80"
      "it's 12 o'clock, isn't it?",
  };
}

std::vector<std::string> CheckpointSeeds() {
  std::vector<std::string> seeds;
  for (const std::string& header : {
           std::string(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"),
           std::string(R"({"__metadata__":{"format":"pt"},"weight":{"dtype":"BF16","shape":[2,2],)"
                       R"("data_offsets":[0,8]}})"),
       }) {
    std::string file(1, '\0');
    const uint64_t size = header.size();
    file.append(reinterpret_cast<const char*>(&size), sizeof(size));
    seeds.push_back(file + header + "12345678");
  }
  seeds.push_back(
      std::string("\1") +
      R"({"model_type":"clip","projection_dim":8,"text_config":{"hidden_size":8,)"
      R"("num_hidden_layers":1,"num_attention_heads":2,"vocab_size":8,)"
      R"("max_position_embeddings":16,"intermediate_size":32},"vision_config":{"hidden_size":8,)"
      R"("num_hidden_layers":1,"num_attention_heads":2,"image_size":32,"patch_size":16,)"
      R"("intermediate_size":32}})");
  seeds.push_back(std::string("\2") +
                  R"({"model_cfg":{"embed_dim":8,"vision_cfg":{"image_size":32,"layers":1,)"
                  R"("width":8,"patch_size":16},"text_cfg":{"context_length":16,"vocab_size":8,)"
                  R"("width":8,"heads":2,"layers":1}},"preprocess_cfg":{"mean":[0.5,0.5,0.5],)"
                  R"("std":[0.5,0.5,0.5]}})");
  seeds.push_back(std::string("\3") +
                  R"({"crop_size":{"height":32,"width":32},"image_mean":[0,0,0],)"
                  R"("image_std":[1,1,1],"resample":3,"size":{"shortest_edge":32}})");
  return seeds;
}

// The first byte: wire, JSON or form; the second: Search, Upsert or SearchBatch.
std::vector<std::string> RequestSeeds() {
  const std::string search =
      R"({"collection": "c", "query": {"terms": [{"text": "a cat", "weight": 2},)"
      R"( {"image": "AAEC"}, {"id": "x"}, {"vector": {"values": [1, 0.5]}}]},)"
      R"( "filter": "a = 1", "limit": 5, "minScore": 0.5, "exact": true})";
  const std::string upsert =
      R"({"images": [{"id": "x", "content": "AAEC", "metadata": {"a": {"b": [1, null, "c"]}},)"
      R"( "expireTime": "2030-01-01T00:00:00Z"}]})";
  const std::string batch = "{\"requests\": [" + search + "]}";
  std::vector<std::string> seeds = {std::string("\1\0", 2) + search, "\1\1" + upsert,
                                    "\1\2" + batch};
  const auto wire = [&seeds](char choice, google::protobuf::Message&& message,
                             const std::string& json) {
    if (!google::protobuf::util::JsonStringToMessage(json, &message).ok()) std::abort();
    seeds.push_back(std::string{'\0', choice} + message.SerializeAsString());
  };
  wire(0, v1::SearchRequest(), search);
  wire(1, v1::UpsertRequest(), upsert);
  wire(2, v1::SearchBatchRequest(), batch);
  seeds.push_back(std::string("\2\0", 2) + "text=a cat\1limit=5\1query.terms[1].image=raw");
  seeds.push_back("\2\1images[0].id=x\1images[0].metadata={\"a\": 1}\1image=raw");
  seeds.push_back("\2\2request={}\1requests[0].query.terms[0].text=x");
  return seeds;
}

std::vector<std::string> Seeds(const std::string& fuzzer) {
  if (fuzzer == "image") return ImageSeeds();
  if (fuzzer == "tokenizer") return TokenizerSeeds();
  if (fuzzer == "checkpoint") return CheckpointSeeds();
  if (fuzzer == "filter") return FilterSeeds();
  if (fuzzer == "snapshot") return SnapshotSeeds();
  if (fuzzer == "backup") return BackupSeeds();
  if (fuzzer == "request") return RequestSeeds();
  return {};
}

}  // namespace
}  // namespace imagesearch::fuzz

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto seeds = imagesearch::fuzz::Seeds(argv[1]);
  for (size_t i = 0; i < seeds.size(); ++i) {
    std::ofstream out(std::string(argv[2]) + "/seed" + std::to_string(i), std::ios::binary);
    if (!(out << seeds[i])) return 1;
  }
  if (seeds.empty()) std::fprintf(stderr, "no fuzzer %s\n", argv[1]);
  return seeds.empty() ? 1 : 0;
}
