// Precedence, errors and the documented table of settings.
#include "server/config/config.h"

#include <fstream>
#include <map>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/limits.h"

namespace imagesearch::server {
namespace {

using ::testing::HasSubstr;

GetEnv Environment(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto found = values.find(name);
    if (found == values.end()) return std::nullopt;
    return found->second;
  };
}

std::string WriteFile(const std::string& name, const std::string& content) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::ofstream(path) << content;
  return path;
}

std::string ErrorOf(const std::vector<std::string>& arguments,
                    const GetEnv& env = Environment({})) {
  return std::string(ReadConfig(arguments, env).status().message());
}

TEST(ConfigTest, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const std::string file = WriteFile(
      "precedence.conf", "listen: \"file:1\" data_dir: \"file\" model: \"file\" max_limit: 7");
  const auto command =
      ReadConfig({"--config", file, "--listen", "flag:1"},
                 Environment({{"IMAGESEARCH_LISTEN", "env:1"}, {"IMAGESEARCH_DATA_DIR", "env"}}));
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->config.listen(), "flag:1");
  EXPECT_EQ(command->config.data_dir(), "env");
  EXPECT_EQ(command->config.model(), "file");
  EXPECT_EQ(LimitsOf(command->config).max_limit, 7u);
  EXPECT_EQ(command->config.precision(), "auto");
}

TEST(ConfigTest, TheFileMayBeNamedByTheEnvironment) {
  const std::string file = WriteFile("by_env.conf", "max_limit: 9");
  const auto command = ReadConfig({}, Environment({{"IMAGESEARCH_CONFIG", file}}));
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->config.max_limit(), 9);
}

TEST(ConfigTest, SwitchesTakeThreeForms) {
  const auto reflection = [](const std::vector<std::string>& arguments) {
    return ReadConfig(arguments, Environment({}))->config.reflection();
  };
  EXPECT_TRUE(reflection({"--reflection"}));
  EXPECT_FALSE(reflection({"--reflection=false"}));
  EXPECT_FALSE(reflection({"--no-reflection"}));
}

TEST(ConfigTest, WrongValuesNameTheirSourceAndWhatIsAllowed) {
  EXPECT_THAT(ErrorOf({"--precision", "fp64"}), HasSubstr("--precision: \"fp64\""));
  EXPECT_THAT(ErrorOf({"--precision", "fp64"}), HasSubstr("auto, fp32, bf16, fp16, int8"));
  EXPECT_THAT(ErrorOf({"--max-limit", "0"}), HasSubstr("1 to 100000"));
  EXPECT_THAT(ErrorOf({"--max-limit=many"}), HasSubstr("\"many\""));
  EXPECT_THAT(ErrorOf({"--max-limit"}), HasSubstr("needs a value"));
  EXPECT_THAT(ErrorOf({"--min-bulk-share", "nan"}), HasSubstr("0.01 to 0.9"));
  EXPECT_THAT(ErrorOf({"--no-listen"}), HasSubstr("--no-listen is not a flag"));
  EXPECT_THAT(ErrorOf({"--max_limit_of_all", "1"}), HasSubstr("is not a flag"));
  EXPECT_THAT(ErrorOf({"serve"}), HasSubstr("\"serve\" is not a flag"));
  EXPECT_THAT(ErrorOf({}, Environment({{"IMAGESEARCH_MAX_LIMIT", "-1"}})),
              HasSubstr("IMAGESEARCH_MAX_LIMIT: \"-1\""));
  EXPECT_THAT(ErrorOf({"--config", "/nonexistent"}), HasSubstr("can't be read"));
  EXPECT_THAT(ErrorOf({"--config", WriteFile("wrong.conf", "max_limit: 5\nmax_limt: 6")}),
              HasSubstr("line 2"));
  EXPECT_THAT(ErrorOf({"--config", WriteFile("range.conf", "max_limit: 0")}),
              HasSubstr("max_limit: \"0\""));
}

TEST(ConfigTest, EverySettingHasHelpAndNumbersHaveBounds) {
  const auto* descriptor = ServerConfig::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto& field = *descriptor->field(i);
    const Setting& options = field.options().GetExtension(setting);
    EXPECT_FALSE(options.help().empty()) << field.name();
    EXPECT_EQ(options.has_min(), options.has_max()) << field.name();
    const bool number =
        field.cpp_type() != field.CPPTYPE_STRING && field.cpp_type() != field.CPPTYPE_BOOL;
    EXPECT_EQ(options.has_min(), number) << field.name();
  }
}

TEST(ConfigTest, DefaultsAreThoseOfTheLimitsHeader) {
  const Limits defaults, configured = LimitsOf(ServerConfig());
  EXPECT_EQ(configured.max_message_bytes, defaults.max_message_bytes);
  EXPECT_EQ(configured.max_reply_bytes, defaults.max_reply_bytes);
  EXPECT_EQ(configured.image.max_bytes, defaults.image.max_bytes);
  EXPECT_EQ(configured.image.max_pixels, defaults.image.max_pixels);
  EXPECT_EQ(configured.image.max_side, defaults.image.max_side);
  EXPECT_EQ(configured.max_text_bytes, defaults.max_text_bytes);
  EXPECT_EQ(configured.max_query_terms, defaults.max_query_terms);
  EXPECT_EQ(configured.max_limit, defaults.max_limit);
  EXPECT_EQ(configured.max_offset, defaults.max_offset);
  EXPECT_EQ(configured.max_id_bytes, defaults.max_id_bytes);
  EXPECT_EQ(configured.max_metadata_bytes, defaults.max_metadata_bytes);
  EXPECT_EQ(configured.max_metadata_keys, defaults.max_metadata_keys);
  EXPECT_EQ(configured.max_metadata_depth, defaults.max_metadata_depth);
  EXPECT_EQ(configured.max_filter_bytes, defaults.max_filter_bytes);
  EXPECT_EQ(configured.max_upsert_images, defaults.max_upsert_images);
  EXPECT_EQ(configured.max_search_batch, defaults.max_search_batch);
  EXPECT_EQ(configured.max_encode_inputs, defaults.max_encode_inputs);
  EXPECT_EQ(configured.max_page_size, defaults.max_page_size);
  EXPECT_EQ(configured.max_dimension, defaults.max_dimension);
}

TEST(ConfigTest, TheTableInTheDocumentationIsTheOneOfTheProgram) {
  std::ifstream file(OPERATIONS_MD);
  std::stringstream content;
  content << file.rdbuf();
  EXPECT_TRUE(content.str().find(HelpMarkdown()) != std::string::npos)
      << "put the output of imagesearchd --help-markdown into docs/operations.md";
}

}  // namespace
}  // namespace imagesearch::server
