#include <unistd.h>

#include "jump/old/run.h"
#include "jump/old/stages.h"
#include "net/hold.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::jump {
namespace {

// Stops the carry set, then closes the network, then lets the engine read: in one call of the engine, which
// hands over to the snapshot stage when everybody stands still.
class ParkStage final : public Stage {
 public:
  std::string_view name() const override { return "park"; }

  Result<void> apply(Run& run) override {
    run.fact({{"pids", run.set.pids()}});
    engine::SnapshotRequest request;
    request.images = run.images_folder();
    engine::SnapshotHooks hooks;
    hooks.on_ready = [&run]() -> Result<void> {
      run.open_window();
      return {};
    };
    hooks.on_parked = [&run]() -> Result<void> {
      TRY(net::hold_network());
      run.hand_over("snapshot");
      return {};
    };
    hooks.facts = [&run](const Event& event) { run.fact(event.data); };
    TRY_ASSIGN(run.stood_still, run.engine->snapshot(run.set, request, hooks));
    return {};
  }

  // The engine lets its tasks go when its caller dies; that may take it a moment. The network opens first:
  // what arrives now is queued by sockets that are all there.
  Result<void> undo(const UndoContext& context) override {
    TRY(net::release_network());
    for (pid_t pid : context.facts.value("pids", std::vector<pid_t>())) {
      for (int tries = 0; is_held(pid); ++tries) {
        if (tries == 600) return Err("task {} is still held by process {} after 30 s", pid, tracer(pid));
        ::usleep(50'000);
      }
    }
    return {};
  }

 private:
  static std::string tracer(pid_t pid) {
    auto status = os::read_file(fmt::format("/proc/{}/status", pid));
    if (!status) return "0";  // ended by itself meanwhile
    return os::parse_key_values(*status)["TracerPid"];
  }
  static bool is_held(pid_t pid) { return tracer(pid) != "0"; }
};

}  // namespace

std::unique_ptr<Stage> make_park_stage() { return std::make_unique<ParkStage>(); }

}  // namespace upkeep::jump
