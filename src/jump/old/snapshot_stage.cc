#include <fcntl.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "jump/old/run.h"
#include "jump/old/stages.h"
#include "machine/temporary_files.h"
#include "net/snapshot.h"
#include "net/tcp_peers.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::jump {
namespace {

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

// Reads the carry set, which stands still, and everything around it, and puts all of it where the new kernel finds
// it.
class SnapshotStage final : public OldKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "snapshot"; }

  Result<void> apply_with(Run& run, operation::Context& context) override {
    TRY(save_tasks(run, context));
    auto& manifest = run.manifest;
    manifest.id = run.plan.id;
    manifest.from = os::kernel_release();
    manifest.to = run.target->release;
    manifest.state_dir = run.plan.state_dir;
    manifest.carry_set = engine::to_json(run.set);
    manifest.hostname = host_name();
    TRY_ASSIGN(auto peers, net::collect_tcp_peers(run.set.pids()));
    manifest.tcp_peers = net::to_json(peers);
    TRY_ASSIGN(auto network, net::take_snapshot());
    manifest.network = net::to_json(network);
    TRY(copy_images(run));
    ::sync();
    return finish_store(run, context);
  }

  // All of it is memory that prepare takes back.
  Result<void> undo(const operation::UndoContext&) override { return {}; }

 private:
  static Result<void> save_tasks(Run& run, const operation::Context& context) {
    const auto begin = os::monotonic_ns();
    TRY_ASSIGN(run.set, run.stopped->set());
    TRY(run.stopped->save(*run.image, engine::Durability::in_memory));
    context.fact({{"engine.snapshot_ms", os::milliseconds_since(begin)},
                  {"engine.images_bytes", run.image->page_bytes()}});
    return {};
  }

  static Result<void> copy_images(Run& run) {
    TRY_ASSIGN(auto mounts, os::read_mountinfo(1));
    run.manifest.mounts = machine::early_mounts(mounts);
    TRY_ASSIGN(
        run.manifest.temporary_files,
        machine::save_temporary_files(machine::temporary_directories(run.set.pids(), mounts), *run.writer));
    TRY_ASSIGN(auto images, os::open_file(run.images_directory(), O_RDONLY | O_DIRECTORY));
    return run.writer->add_tree("images", images);
  }

  static Result<void> finish_store(Run& run, const operation::Context& context) {
    run.manifest.clocks = os::read_clocks();
    run.manifest.tsc_frequency = os::tsc_frequency(run.clocks_at_start, run.manifest.clocks).value_or(0);
    TRY_ASSIGN(const auto manifest, to_text(run.manifest));
    TRY(run.writer->add_bytes(std::string(memory::kManifestName), manifest));
    TRY(run.writer->finish());
    TRY(run.store->in_place());
    context.fact({{"carried_bytes", run.writer->used()}});
    return {};
  }
};

}  // namespace

std::unique_ptr<operation::Stage> make_snapshot_stage(Run* run) {
  return std::make_unique<SnapshotStage>(run);
}

}  // namespace upkeep::jump
