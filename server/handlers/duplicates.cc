// FindDuplicates: groups of duplicates, sent one after the other.
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/handlers.h"
#include "server/handlers/target.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

constexpr absl::Duration kProgressEvery = absl::Seconds(1);

// Turns the visits into messages.
class Sender final : public index::DuplicatesVisitor {
 public:
  explicit Sender(CallContext& call) : call_(call) {}

  absl::Status OnProgress(uint64_t examined, uint64_t total) override {
    const absl::Time now = SteadyNow();
    if (call_.cancelled->load()) return absl::CancelledError("the caller went away");
    if (now >= call_.deadline) return absl::DeadlineExceededError("the deadline passed");
    if (now - last_ < kProgressEvery) return absl::OkStatus();
    last_ = now;
    v1::FindDuplicatesResponse message;
    message.mutable_progress()->set_examined(examined);
    message.mutable_progress()->set_total(total);
    return call_.send(&message);
  }

  absl::Status OnGroup(index::DuplicateGroup group) override {
    v1::FindDuplicatesResponse message;
    message.mutable_group()->set_number(group.number);
    message.mutable_group()->set_size(group.size);
    for (index::DuplicateRef& image : group.images) {
      FillDuplicate(std::move(image), message.mutable_group()->add_images());
    }
    return call_.send(&message);
  }

 private:
  CallContext& call_;
  absl::Time last_ = SteadyNow();
};

}  // namespace

absl::Status FindDuplicates(ServerState& state, CallContext& call,
                            v1::FindDuplicatesRequest* request,
                            v1::FindDuplicatesResponse* /*response*/) {
  absl::StatusOr<index::DuplicateTier> tier = ToTier(request->tier());
  if (!tier.ok()) return AtField(tier.status(), "tier");
  absl::Status status = CheckFilter(request->filter(), state.limits());
  if (!status.ok()) return status;
  index::DuplicatesQuery query;
  query.filter = request->filter();
  if (*tier != index::DuplicateTier::kNone) query.tier = *tier;
  if (request->has_min_score()) {
    query.look_alike = request->min_score();
    if (!(query.look_alike > 0 && query.look_alike <= 1)) {
      return AtField(InvalidArgument("BAD_MIN_SCORE", "must be above 0 and at most 1"),
                     "min_score");
    }
  }
  absl::StatusOr<Target> target =
      FindTarget(state, request->collection(), request->min_version(), call);
  if (!target.ok()) return target.status();
  Sender sender(call);
  absl::StatusOr<index::DuplicatesSummary> found;
  {
    StageTimer timer(call, "index");
    found = target->collection->FindDuplicates(query, &sender);
  }
  if (!found.ok()) return found.status();
  v1::FindDuplicatesResponse last;
  last.mutable_summary()->set_images(found->images);
  last.mutable_summary()->set_groups(found->groups);
  last.mutable_summary()->set_duplicates(found->duplicates);
  last.mutable_summary()->set_version(found->version);
  return call.send(&last);
}

}  // namespace imagesearch::server
