#include <nlohmann/json.hpp>

#include "jump/new/landing.h"
#include "jump/new/restored_tasks.h"
#include "jump/new/stages.h"
#include "net/hold.h"
#include "net/prod.h"

namespace upkeep::jump {
namespace {

// From here on there is no way back: what goes wrong is a warning.
class ResumeStage final : public NewKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "resume"; }

  Result<void> apply_with(Landing& landing, operation::Context& context) override {
    const auto begin = os::monotonic_ns();
    if (auto live = landing.tasks->made->go_live(); !live)
      context.fact({{"engine.connections_lost", live.error().message()}});
    open_network(landing, context);
    (void)landing.tasks->made->release();
    context.fact({{"engine.resume_ms", os::milliseconds_since(begin)}});
    if (landing.tasks->journald) landing.tasks->journald->hand_on();
    context.conclude(fmt::format("{} tasks run", landing.tasks->made->pids().size()));
    return {};
  }

  // Tasks that run are not taken back. The network stays open.
  Result<void> undo(const operation::UndoContext&) override { return net::release_network(); }

 private:
  static void open_network(const Landing& landing, const operation::Context& context) {
    auto note = [&context](const Error& error) { context.warn(error.message()); };
    if (auto released = net::release_network(); !released) note(released.error());
    auto prodded = net::prod_peers(landing.tasks->peers);
    if (!prodded) return note(prodded.error());
    for (const auto& warning : prodded->warnings) context.warn(warning);
    if (auto probed = net::probe_windows(landing.tasks->made->pids()); !probed) note(probed.error());
  }
};

}  // namespace

std::unique_ptr<operation::Stage> make_resume_stage(Landing* landing) {
  return std::make_unique<ResumeStage>(landing);
}

}  // namespace upkeep::jump
