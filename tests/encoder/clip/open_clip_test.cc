// Opening checkpoints that this test writes: what is accepted, what is refused and how, and what
// the encoder answers.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <utility>

#include "base/error.h"
#include "encoder/clip/clip_encoder.h"
#include "encoder/clip/open_plain.h"
#include "encoder/clip/self_test.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/encoder/clip/checkpoint_builder.h"

namespace imagesearch::encoder {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class OpenClipTest : public testing::Test {
 protected:
  OpenClipTest() : dir_(testing::TempDir() + "/tiny-clip") {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    WriteTinyClip(dir_);
  }
  ~OpenClipTest() override { std::filesystem::remove_all(dir_); }

  ClipOptions Options() const {
    ClipOptions options;
    options.model_dir = dir_;
    options.precision = Precision::kFp32;
    options.threads = 1;
    return options;
  }

  // Opening is refused with this reason, and the message says `what`.
  void ExpectRefused(const std::string& reason, const std::string& what) {
    const auto opened = OpenClip(Options());
    ASSERT_FALSE(opened.ok()) << what;
    EXPECT_EQ(ReasonOf(opened.status()), reason) << opened.status();
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr(what));
  }

  void ChangeConfig(const std::function<void(nlohmann::json&)>& change) {
    nlohmann::json config = TinyClipConfig();
    change(config);
    WriteFile(dir_ + "/config.json", config.dump());
  }

  const std::string dir_;
};

Prepared Grey(int side, uint8_t level) {
  Prepared prepared;
  prepared.kind = Input::Kind::kImage;
  prepared.pixels.assign(size_t{3} * side * side, level);
  return prepared;
}

TEST_F(OpenClipTest, AnswersUnitVectorsAndDescribesItself) {
  auto encoder = OpenClip(Options());
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  const ModelInfo& model = (*encoder)->model();
  EXPECT_EQ(model.dimension, 6);
  EXPECT_EQ(model.image_size, 8);
  EXPECT_EQ(model.context_length, 16);
  EXPECT_EQ(model.precision, "fp32");
  EXPECT_EQ(model.fingerprint.size(), 64u);
  EXPECT_EQ(model.id, "tiny-clip@" + model.fingerprint.substr(0, 8));
  EXPECT_GT(model.memory_bytes, 0u);

  const auto text = (*encoder)->Prepare(Input::Text("hi there"));
  ASSERT_TRUE(text.ok()) << text.status();
  const Prepared image = Grey(8, 100);
  for (const auto& result : (*encoder)->Embed({&*text, &image})) {
    ASSERT_TRUE(result.ok()) << result.status();
    double sum = 0;
    for (const float value : result->values) sum += value * value;
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_FALSE(result->truncated_text);
  }
}

TEST_F(OpenClipTest, LongTextIsCutAndFlagged) {
  auto encoder = OpenClip(Options());
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  const auto text = (*encoder)->Prepare(Input::Text(std::string(50, 'x')));
  ASSERT_TRUE(text.ok());
  const auto result = std::move((*encoder)->Embed({&*text})[0]);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->truncated_text);
}

TEST_F(OpenClipTest, SelfTestPassesAndCatchesAWrongGoldenVector) {
  auto encoder = OpenClip(Options());
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  EXPECT_TRUE(SelfTest(**encoder, Options()).ok());
  WriteFile(dir_ + "/golden.json", R"({"texts": [{"text": "hi", "vector": [1, 0, 0, 0, 0, 0]}]})");
  EXPECT_EQ(ReasonOf(SelfTest(**encoder, Options())), "SELF_TEST_FAILED");
  WriteFile(dir_ + "/golden.json", R"({"texts": [{"text": "hi", "vector": [1, 0]}]})");
  EXPECT_FALSE(SelfTest(**encoder, Options()).ok());
  WriteFile(dir_ + "/golden.json", "{}");
  EXPECT_FALSE(SelfTest(**encoder, Options()).ok());
}

TEST_F(OpenClipTest, FingerprintFollowsWeightsConfigurationAndTokenizer) {
  const auto fingerprint = [&] { return (*OpenClip(Options()))->model().fingerprint; };
  const std::string first = fingerprint();
  EXPECT_EQ(fingerprint(), first);
  WriteFile(dir_ + "/preprocessor_config.json", R"({"image_std": [1, 1, 1]})");
  const std::string second = fingerprint();
  EXPECT_NE(second, first);
  WriteFile(dir_ + "/special_tokens_map.json", R"({"pad_token": "!"})");
  EXPECT_NE(fingerprint(), second);
}

TEST_F(OpenClipTest, WeightThatIsNotFiniteGivesInternal) {
  Tensors tensors = TinyClipTensors();
  std::string file = TensorsFile(tensors);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // The last tensor of the file is visual_projection.weight.
  std::memcpy(file.data() + file.size() - sizeof nan, &nan, sizeof nan);
  WriteFile(dir_ + "/model.safetensors", file);
  auto encoder = OpenClip(Options());
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  const Prepared image = Grey(8, 100);
  const auto result = std::move((*encoder)->Embed({&image})[0]);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ReasonOf(result.status()), "MODEL_OUTPUT_NOT_FINITE");
}

TEST_F(OpenClipTest, InputPreparedForAnotherModelFailsAlone) {
  auto encoder = OpenClip(Options());
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  const Prepared good = Grey(8, 1), bad = Grey(9, 1);
  const auto results = (*encoder)->Embed({&bad, &good});
  EXPECT_FALSE(results[0].ok());
  EXPECT_TRUE(results[1].ok());
}

TEST_F(OpenClipTest, ManyCallersAtOnce) {
  auto encoder = OpenClip(Options());
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  const Prepared image = Grey(8, 50);
  const std::vector<float> alone = (*encoder)->Embed({&image})[0]->values;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 20; ++repeat)
        EXPECT_EQ((*encoder)->Embed({&image})[0]->values, alone);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST_F(OpenClipTest, MissingTensor) {
  Tensors tensors = TinyClipTensors();
  tensors.erase("text_model.encoder.layers.0.mlp.fc2.bias");
  WriteFile(dir_ + "/model.safetensors", TensorsFile(tensors));
  ExpectRefused("MODEL_TENSOR_MISSING", "text_model.encoder.layers.0.mlp.fc2.bias is missing");
}

TEST_F(OpenClipTest, WrongShape) {
  Tensors tensors = TinyClipTensors();
  tensors["visual_projection.weight"] = {6, 9};
  WriteFile(dir_ + "/model.safetensors", TensorsFile(tensors));
  ExpectRefused("MODEL_TENSOR_SHAPE", "visual_projection.weight has shape (6, 9), expected (6, 8)");
}

TEST_F(OpenClipTest, OtherArchitectures) {
  ChangeConfig([](nlohmann::json& config) { config["model_type"] = "siglip"; });
  ExpectRefused("MODEL_UNSUPPORTED", "model_type siglip");
  ChangeConfig([](nlohmann::json& config) { config["vision_config"]["hidden_act"] = "relu"; });
  ExpectRefused("MODEL_UNSUPPORTED", "hidden_act relu");
  ChangeConfig([](nlohmann::json& config) { config["text_config"]["num_attention_heads"] = 3; });
  ExpectRefused("MODEL_UNSUPPORTED", "can't be split over 3 attention heads");
  ChangeConfig([](nlohmann::json& config) { config["vision_config"]["patch_size"] = 3; });
  ExpectRefused("MODEL_UNSUPPORTED", "don't tile");
}

TEST_F(OpenClipTest, ConfigurationValuesOfTheWrongKind) {
  for (const nlohmann::json& value :
       {nlohmann::json("8"), nlohmann::json(-1), nlohmann::json(1e300), nlohmann::json(0)}) {
    ChangeConfig([&](nlohmann::json& config) { config["text_config"]["hidden_size"] = value; });
    ExpectRefused("MODEL_UNSUPPORTED", "hidden_size must be a number from 1 to");
  }
  ChangeConfig([](nlohmann::json& config) { config["text_config"] = 5; });
  ExpectRefused("MODEL_UNSUPPORTED", "text_config must be an object");
  WriteFile(dir_ + "/config.json", "not JSON");
  ExpectRefused("MODEL_DAMAGED", "not a JSON object");
}

TEST_F(OpenClipTest, PreprocessingThatDoesNotFitTheModel) {
  WriteFile(dir_ + "/preprocessor_config.json", R"({"crop_size": 16})");
  ExpectRefused("MODEL_UNSUPPORTED", "crop_size is 16 but the model takes images of 8 pixels");
  WriteFile(dir_ + "/preprocessor_config.json", R"({"crop_size": {"height": 8, "width": 9}})");
  ExpectRefused("MODEL_UNSUPPORTED", "crop_size must be a square");
  WriteFile(dir_ + "/preprocessor_config.json", R"({"image_std": [1, 0, 1]})");
  ExpectRefused("MODEL_UNSUPPORTED", "image_std must be above 0");
  WriteFile(dir_ + "/preprocessor_config.json", R"({"do_resize": false})");
  ExpectRefused("MODEL_UNSUPPORTED", "do_resize");
}

TEST_F(OpenClipTest, PickleIsRefusedWithTheCommandThatConvertsIt) {
  std::filesystem::remove(dir_ + "/model.safetensors");
  ExpectRefused("MODEL_FILE_MISSING", "no model.safetensors");
  WriteFile(dir_ + "/pytorch_model.bin", "\x80\x02");
  ExpectRefused("MODEL_IS_PICKLE", "save_file(");
  ExpectRefused("MODEL_IS_PICKLE", "'pytorch_model.bin'");
}

TEST_F(OpenClipTest, OpenClipSwitchesThatChangeTheArithmetic) {
  std::filesystem::remove(dir_ + "/config.json");
  const auto write = [&](const std::string& vision, const std::string& text) {
    WriteFile(dir_ + "/open_clip_config.json", "{\"model_cfg\":{\"embed_dim\":6,\"vision_cfg\":{" +
                                                   vision + "},\"text_cfg\":{" + text + "}}}");
  };
  write("\"timm_model_name\":\"convnext\"", "");
  ExpectRefused("MODEL_UNSUPPORTED", "timm_model_name");
  write("\"layers\":[3,4,6,3]", "");
  ExpectRefused("MODEL_UNSUPPORTED", "ResNet");
  write("\"no_ln_pre\":true", "");
  ExpectRefused("MODEL_UNSUPPORTED", "no_ln_pre");
  write("", "\"hf_model_name\":\"roberta\"");
  ExpectRefused("MODEL_UNSUPPORTED", "hf_model_name");
  write("", "\"embed_cls\":true");
  ExpectRefused("MODEL_UNSUPPORTED", "embed_cls");
}

TEST_F(OpenClipTest, MissingFolderAndMissingTokenizer) {
  std::filesystem::remove(dir_ + "/vocab.json");
  const auto opened = OpenClip(Options());
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kNotFound) << opened.status();
  ClipOptions options = Options();
  options.model_dir = dir_ + "/nowhere";
  EXPECT_EQ(OpenClip(options).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(OpenClipTest, EveryLevelOfKernelsAgreesWithThePlainPath) {
  const auto plain = OpenPlainClip(Options());
  ASSERT_TRUE(plain.ok()) << plain.status();
  const Prepared image = Grey((*plain)->model().image_size, 90);
  const Prepared text = *(*plain)->Prepare(Input::Text("ab"));
  const auto expected = (*plain)->Embed({&image, &text});
  int tried = 0;
  for (const char* level : {"best", "avx512_vnni", "avx512", "none"}) {
    for (const auto& [precision, cosine] :
         {std::pair(Precision::kFp32, 0.99999), std::pair(Precision::kBf16, 0.998),
          std::pair(Precision::kInt8, 0.99)}) {
      ClipOptions options = Options();
      options.kernels = *ParseCpuKernels(level);
      options.precision = precision;
      const auto opened = OpenClip(options);
      if (!opened.ok()) {
        // Only for want of instructions, and never fp32 or bf16.
        EXPECT_EQ(ReasonOf(opened.status()), "PRECISION_UNSUPPORTED") << opened.status();
        EXPECT_EQ(precision, Precision::kInt8);
        continue;
      }
      ++tried;
      const auto got = (*opened)->Embed({&image, &text});
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(got[i].ok()) << level << " " << got[i].status();
        double dot = 0;
        for (size_t k = 0; k < got[i]->values.size(); ++k) {
          dot += double{got[i]->values[k]} * expected[i]->values[k];
        }
        EXPECT_GE(dot, cosine) << level << " " << (*opened)->model().precision << " " << i;
      }
    }
  }
  EXPECT_GE(tried, 8);
}

TEST_F(OpenClipTest, Int8IsRefusedBelowVnni) {
  ClipOptions options = Options();
  options.precision = Precision::kInt8;
  for (const CpuKernels level : {CpuKernels::kAvx512, CpuKernels::kNone}) {
    options.kernels = level;
    const auto opened = OpenClip(options);
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(ReasonOf(opened.status()), "PRECISION_UNSUPPORTED");
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr("AVX512-VNNI"));
  }
}

TEST_F(OpenClipTest, ACudaDeviceThatIsNotThereIsRefusedWithTheReason) {
  ClipOptions options = Options();
  options.device = DeviceChoice::kCuda;
  const auto opened = OpenClip(options);
  if (opened.ok()) GTEST_SKIP() << "there is a CUDA device";
  EXPECT_EQ(ReasonOf(opened.status()), "DEVICE_UNSUPPORTED") << opened.status();
  options.device = DeviceChoice::kCpu;
  EXPECT_TRUE(OpenClip(options).ok());
}

TEST(PrecisionTest, Names) {
  EXPECT_EQ(*ParseDevice("cuda"), DeviceChoice::kCuda);
  EXPECT_EQ(ReasonOf(ParseDevice("tpu").status()), "BAD_DEVICE");
  EXPECT_EQ(*ParseCpuKernels("avx512_vnni"), CpuKernels::kAvx512Vnni);
  EXPECT_EQ(ReasonOf(ParseCpuKernels("sse").status()), "BAD_KERNELS");

  EXPECT_EQ(*ParsePrecision("auto"), Precision::kAuto);
  EXPECT_EQ(*ParsePrecision("int8"), Precision::kInt8);
  EXPECT_EQ(ReasonOf(ParsePrecision("fp8").status()), "BAD_PRECISION");
}

}  // namespace
}  // namespace imagesearch::encoder
