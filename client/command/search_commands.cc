// `imagesearch search` and `imagesearch encode`.
#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "client/command/contact_sheet.h"
#include "client/command/context.h"
#include "client/command/output.h"
#include "client/command/query.h"
#include "client/picture/prepare.h"
#include "client/picture/thumbnail.h"
#include "client/status.h"

namespace imagesearch::client {
namespace {

constexpr int kThumbnailSide = 200;

struct SearchOptions {
  std::vector<std::string> words;
  std::vector<std::string> images;
  std::vector<std::string> ids;
  std::string filter;
  int limit = 10;
  int offset = 0;
  float min_score = -2;
  bool has_min_score = false;
  bool exact = false;
  bool with_vector = false;
  std::string group_by;
  int per_group = 1;
  float diversity = 0;
  float min_relevance = -1;
  bool auto_cut = false;
  bool relevance = false;
  std::string keywords;
  std::vector<std::string> keyword_fields;
  std::vector<std::string> facets;
  std::string html;
  bool html_append = false;
};

// An image of the query as it is sent: shrunk when it is beyond the server's default limits.
absl::StatusOr<std::string> QueryImage(const std::string& path) {
  auto bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  auto prepared = PreparePicture(*std::move(bytes), PictureLimits());
  if (!prepared.ok()) {
    return Error(prepared.status().code(), ReasonOf(prepared.status()),
                 absl::StrCat(path, ": ", prepared.status().message()));
  }
  return std::move(prepared->bytes);
}

// The thumbnail of a stored picture whose file can still be read here; empty otherwise.
std::string ThumbnailOf(const v1::Hit& hit) {
  const std::string path = MetadataText(hit.metadata(), "path");
  std::error_code error;
  if (path.empty() || !std::filesystem::is_regular_file(path, error)) return "";
  auto bytes = ReadFile(path);
  if (!bytes.ok()) return "";
  return Thumbnail(*bytes, kThumbnailSide).value_or("");
}

SheetQuery MakeSheet(const SearchOptions& options, const std::vector<QueryTerm>& terms,
                     const v1::SearchRequest& request, const v1::SearchResponse& response,
                     absl::Duration took) {
  SheetQuery sheet;
  sheet.title = DescribeQuery(terms);
  sheet.milliseconds = absl::ToDoubleMilliseconds(took);
  if (!options.filter.empty()) sheet.footnote = absl::StrCat("filter: ", options.filter);
  for (const v1::Term& term : request.query().terms()) {
    if (!term.has_image()) continue;
    if (auto picture = Thumbnail(term.image(), kThumbnailSide * 3 / 2); picture.ok()) {
      sheet.pictures.push_back(*std::move(picture));
    }
  }
  for (const v1::Hit& hit : response.hits()) {
    sheet.hits.push_back({.id = hit.id(),
                          .path = PathOf(hit.metadata()),
                          .score = hit.score(),
                          .thumbnail = ThumbnailOf(hit)});
  }
  return sheet;
}

// Text as it is, everything else as JSON.
std::string ValueText(const google::protobuf::Value& value) {
  return value.has_string_value() ? Shorten(value.string_value(), 30) : Dump(ToJson(value));
}

void PrintFacets(const v1::SearchResponse& response) {
  for (const v1::Facet& facet : response.facets()) {
    Table table({{facet.field()}, {"pictures", Table::Align::kRight}});
    for (const v1::FacetCount& count : facet.values()) {
      table.AddRow({ValueText(count.value()), HumanCount(count.count())});
    }
    table.Print(std::cout);
    std::cout << "\n";
  }
}

void PrintHits(const Context& context, const SearchOptions& options,
               const v1::SearchResponse& response) {
  if (context.json) {
    Json hits = Json::array();
    int rank = options.offset;
    for (const v1::Hit& hit : response.hits()) {
      Json entry = {{"rank", ++rank},
                    {"score", hit.score()},
                    {"id", hit.id()},
                    {"metadata", ToJson(hit.metadata())}};
      if (hit.has_relevance()) entry["relevance"] = hit.relevance();
      if (hit.has_keyword_score()) entry["keyword_score"] = hit.keyword_score();
      if (hit.has_group()) entry["group"] = ToJson(hit.group());
      if (hit.has_vector()) entry["vector"] = ToJson(hit.vector());
      hits.push_back(std::move(entry));
    }
    Json reply = {{"hits", std::move(hits)},
                  {"version", response.version()},
                  {"truncated_text", response.truncated_text()}};
    for (const v1::Facet& facet : response.facets()) {
      Json& values = reply["facets"][facet.field()] = Json::array();
      for (const v1::FacetCount& count : facet.values()) {
        values.push_back({{"value", ToJson(count.value())}, {"count", count.count()}});
      }
    }
    PrintJson(reply);
    return;
  }
  if (response.truncated_text()) {
    std::cerr << "imagesearch: the text is longer than the model reads; its end was ignored\n";
  }
  PrintFacets(response);
  if (response.hits().empty()) {
    std::cout << "no hits\n";
    return;
  }
  std::vector<Table::Column> columns = {
      {"rank", Table::Align::kRight}, {"score", Table::Align::kRight}, {"id"}, {"path"}};
  const bool grouped = !options.group_by.empty();
  if (grouped) columns.insert(columns.begin() + 2, {options.group_by});
  const bool judged = options.relevance || options.auto_cut || options.min_relevance >= 0;
  if (judged) columns.insert(columns.begin() + 2, {"relevance", Table::Align::kRight});
  Table table(std::move(columns));
  int rank = options.offset;
  for (const v1::Hit& hit : response.hits()) {
    std::vector<std::string> cells = {absl::StrCat(++rank), absl::StrFormat("%.4f", hit.score()),
                                      Shorten(hit.id(), 20), ShownPath(PathOf(hit.metadata()))};
    if (grouped) {
      cells.insert(cells.begin() + 2, ValueText(hit.group()));
    }
    if (judged) {
      cells.insert(cells.begin() + 2,
                   hit.has_relevance() ? absl::StrFormat("%.2f", hit.relevance()) : "");
    }
    table.AddRow(std::move(cells));
  }
  table.Print(std::cout);
}

int RunSearch(const Context& context, const SearchOptions& options) {
  auto terms = ParseQuery(options.words);
  if (!terms.ok()) {
    std::cerr << "imagesearch search: " << terms.status().message() << "\n";
    return kExitUsage;
  }
  for (const std::string& path : options.images) {
    QueryTerm term{QueryTerm::Kind::kImageFile, path, 1};
    term.crop = TakeCrop(&term.value);
    terms->push_back(std::move(term));
  }
  for (const std::string& id : options.ids) terms->push_back({QueryTerm::Kind::kId, id, 1});
  if (terms->empty()) {
    std::cerr << "imagesearch search: give a text, --image FILE or --id ID\n";
    return kExitUsage;
  }

  v1::SearchRequest request;
  request.set_collection(context.collection);
  for (const QueryTerm& term : *terms) {
    switch (term.kind) {
      case QueryTerm::Kind::kText:
        *request.mutable_query()->add_terms() = TextTerm(term.value, term.weight);
        break;
      case QueryTerm::Kind::kId:
        *request.mutable_query()->add_terms() = IdTerm(term.value, term.weight);
        break;
      case QueryTerm::Kind::kImageFile: {
        auto image = QueryImage(term.value);
        if (!image.ok()) return Fail(context, image.status());
        v1::Term* out = request.mutable_query()->add_terms();
        *out = ImageTerm(*image, term.weight);
        if (!term.crop) break;
        out->mutable_crop()->set_x((*term.crop)[0]);
        out->mutable_crop()->set_y((*term.crop)[1]);
        out->mutable_crop()->set_width((*term.crop)[2]);
        out->mutable_crop()->set_height((*term.crop)[3]);
        break;
      }
    }
  }
  request.set_filter(options.filter);
  request.set_limit(options.limit);
  request.set_offset(options.offset);
  if (options.has_min_score) request.set_min_score(options.min_score);
  request.set_exact(options.exact);
  request.set_with_metadata(true);
  request.set_with_vector(options.with_vector);
  if (!options.group_by.empty()) {
    request.mutable_group_by()->set_field(options.group_by);
    request.mutable_group_by()->set_limit(options.per_group);
  }
  if (options.diversity != 0) request.set_diversity(options.diversity);
  if (options.min_relevance >= 0) request.set_min_relevance(options.min_relevance);
  request.set_auto_cut(options.auto_cut);
  request.set_with_relevance(options.relevance);
  if (!options.keywords.empty()) request.mutable_keywords()->set_text(options.keywords);
  for (const std::string& field : options.keyword_fields) {
    request.mutable_keywords()->add_fields(field);
  }
  for (const std::string& field : options.facets) request.add_facets()->set_field(field);

  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  const absl::Time start = absl::Now();
  auto response = (*client)->Search(request);
  if (!response.ok()) return Fail(context, response.status());
  const absl::Duration took = absl::Now() - start;

  PrintHits(context, options, *response);
  if (!options.html.empty()) {
    const SheetQuery sheet = MakeSheet(options, *terms, request, *response, took);
    if (auto status = WriteContactSheet(options.html, sheet, options.html_append); !status.ok()) {
      return Fail(context, status);
    }
    if (!context.json) std::cerr << "contact sheet: " << options.html << "\n";
  }
  return kExitOk;
}

struct EncodeOptions {
  std::vector<std::string> words;
  std::vector<std::string> images;
  std::string model;
};

int RunEncode(const Context& context, const EncodeOptions& options) {
  v1::EncodeRequest request;
  request.set_model(options.model);
  Json names = Json::array();
  for (const std::string& text : options.words) {
    request.add_inputs()->set_text(text);
    names.push_back({{"text", text}});
  }
  for (const std::string& path : options.images) {
    auto image = QueryImage(path);
    if (!image.ok()) return Fail(context, image.status());
    request.add_inputs()->set_image(*image);
    names.push_back({{"image", path}});
  }
  if (request.inputs().empty()) {
    std::cerr << "imagesearch encode: give a text or --image FILE\n";
    return kExitUsage;
  }
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  auto response = (*client)->Encode(request);
  if (!response.ok()) return Fail(context, response.status());

  bool failed = false;
  Json results = Json::array();
  for (int i = 0; i < response->results_size(); ++i) {
    const v1::EncodeResult& result = response->results(i);
    Json entry = names[i];
    if (const absl::Status status = FromItem(result.status()); !status.ok()) {
      failed = true;
      entry["error"] = {{"reason", ReasonOf(status)}, {"message", std::string(status.message())}};
    } else {
      if (result.truncated_text()) entry["truncated_text"] = true;
      entry["vector"] = ToJson(result.vector());
    }
    results.push_back(std::move(entry));
  }
  if (context.json) {
    PrintJson(
        {{"model", {{"id", response->model().id()}, {"dimension", response->model().dimension()}}},
         {"results", std::move(results)}});
  } else {
    // One line of JSON for each input: short enough to look at, easy to pipe on.
    for (const Json& entry : results) std::cout << Dump(entry) << "\n";
  }
  return failed ? kExitSomeFailed : kExitOk;
}

}  // namespace

void AddSearchCommands(CLI::App* app, Context* context) {
  {
    auto options = std::make_shared<SearchOptions>();
    CLI::App* search = app->add_subcommand("search", "Find pictures by text, picture or both");
    search->fallthrough();
    search->add_option("QUERY", options->words,
                       "Texts, pictures (./file.jpg, or a part of one: ./file.jpg#x,y,w,h) and "
                       "stored ids (id:ID), joined by + and -, "
                       "each with an optional weight: \"2:golden retriever\" + ./pool.jpg - fruit");
    search
        ->add_option("--image", options->images,
                     "Picture to search with, or a part of it (FILE#x,y,w,h, in fractions of "
                     "width and height); can be given again")
        ->type_name("FILE")
        ->allow_extra_args(false);
    search->add_option("--id", options->ids, "Stored picture to search with; can be given again")
        ->allow_extra_args(false);
    search->add_option("--filter", options->filter,
                       "Only pictures whose metadata match, for example: year >= 2020");
    search->add_option("-n,--limit", options->limit, "Hits to show, 1 to 1000")
        ->capture_default_str();
    search->add_option("--offset", options->offset, "Hits to skip")->capture_default_str();
    auto* min_score =
        search->add_option("--min-score", options->min_score, "Only hits with at least this score");
    search->add_flag("--exact", options->exact, "Compare with every picture: no approximation");
    search->add_flag("--with-vector", options->with_vector, "Vectors too (with --output json)");
    search->add_flag("--relevance", options->relevance,
                     "Show how sure each hit is not there by chance, 0 to 1");
    search->add_option("--min-relevance", options->min_relevance,
                       "Only hits with at least this relevance, 0 to 1");
    search->add_flag("--auto-cut", options->auto_cut,
                     "Only hits that are likely no chance (relevance 0.7); there may be none");
    search->add_option("--keywords", options->keywords,
                       "Words to look for in the metadata, ranked together with the query");
    search
        ->add_option("--keyword-field", options->keyword_fields,
                     "Only in this metadata field; can be given again")
        ->allow_extra_args(false);
    search
        ->add_option("--facet", options->facets,
                     "Count the pictures that match the filter by this metadata field; can be "
                     "given again")
        ->allow_extra_args(false);
    search->add_option("--group-by", options->group_by,
                       "Metadata field to group hits by; --limit and --offset then count groups");
    search->add_option("--per-group", options->per_group, "Hits of each group, 1 to 100")
        ->capture_default_str();
    search->add_option("--diversity", options->diversity,
                       "0 to 1: how much it counts that hits differ from each other");
    search->add_option("--html", options->html, "Also write a contact sheet")->type_name("FILE");
    search->add_flag("--html-append", options->html_append,
                     "Add to the contact sheet instead of replacing it");
    OnRun(search, context, [context, options, min_score] {
      options->has_min_score = min_score->count() > 0;
      return RunSearch(*context, *options);
    });
  }
  {
    auto options = std::make_shared<EncodeOptions>();
    CLI::App* encode =
        app->add_subcommand("encode", "Print the vectors of texts and pictures; stores nothing");
    encode->fallthrough();
    encode->add_option("TEXT", options->words, "Texts, one argument each");
    encode->add_option("--image", options->images, "Picture; can be given again")
        ->type_name("FILE")
        ->allow_extra_args(false);
    encode
        ->add_option("--model", options->model,
                     "A loaded model: its id, or the part before @ (default: the server's own)")
        ->type_name("NAME");
    OnRun(encode, context, [context, options] { return RunEncode(*context, *options); });
  }
}

}  // namespace imagesearch::client
