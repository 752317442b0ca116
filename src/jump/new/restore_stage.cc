#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "jump/new/landing.h"
#include "jump/new/restored_tasks.h"
#include "jump/new/stages.h"
#include "machine/cgroups.h"
#include "machine/huge_page_pools.h"
#include "machine/temporary_files.h"
#include "net/hold.h"
#include "net/snapshot.h"
#include "os/child.h"
#include "os/procfs.h"

namespace upkeep::jump {
namespace {

// The machine's own packet filter is there before the first packet is. A ruleset that this kernel does not take
// is no reason to lose the tasks: it is reported, and systemd loads the configured one a moment later.
void put_rules_back(const std::string& ruleset, const operation::Context& context) {
  const auto nft = os::find_program("nft");
  if (ruleset.empty() || nft.empty()) return;
  os::SpawnOptions options;
  options.input = ruleset;
  if (auto loaded = os::run_checked({nft, "-f", "-"}, options); !loaded)
    context.warn("the packet filter's rules were not put back: " + loaded.error().message());
}

Result<void> put_network_back(const Manifest& manifest, const operation::Context& context) {
  TRY_ASSIGN(auto network, net::snapshot_from_json(manifest.network));
  TRY_ASSIGN(auto outcome, net::put_back(network));
  for (const auto& warning : outcome.warnings) context.warn(warning);
  put_rules_back(manifest.nft_ruleset, context);
  return {};
}

// Every task is there, as what it was.
Result<void> verify(const engine::CarrySet& set) {
  for (const auto& tree : set.trees) {
    for (const auto& task : tree.tasks) {
      TRY_ASSIGN(auto stat, os::read_stat(task.pid));
      if (const auto name = engine::printable(stat.comm); name != engine::printable(task.comm))
        return Err("process {} was '{}' and is '{}'", task.pid, task.comm, name);
      TRY_ASSIGN(auto threads, os::list_threads(task.pid));
      if (threads.size() != task.threads.size())
        return Err("process {} had {} threads and has {}", task.pid, task.threads.size(), threads.size());
    }
  }
  return {};
}

class RestoreStage final : public NewKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "restore"; }

  Result<void> apply_with(Landing& landing, operation::Context& context) override {
    const auto& manifest = landing.manifest;
    TRY_ASSIGN(const auto set, engine::carry_set_from_json(manifest.carry_set));
    landing.tasks = std::make_unique<RestoredTasks>();
    TRY_ASSIGN(landing.tasks->peers, net::tcp_peers_from_json(manifest.tcp_peers));
    TRY(net::hold_network());
    (void)::sethostname(manifest.hostname.c_str(), manifest.hostname.size());
    TRY_ASSIGN(const auto fewer_pages, machine::make_pools(manifest.huge_pages));
    for (const auto& warning : fewer_pages) context.warn(warning);
    TRY(machine::put_back_temporary_files(manifest.temporary_files, landing.directory() + "/tmpfs"));
    TRY(make_tasks(landing, set, context));
    context.conclude(fmt::format("{} tasks rebuilt", landing.tasks->made->pids().size()));
    return {};
  }

  // The tasks ended with the process that made them, or when it let them go (Landing::let_go()). Temporary files and
  // pools of huge pages stay: the machine that starts now makes its own from there.
  Result<void> undo(const operation::UndoContext&) override { return net::release_network(); }

 private:
  // All of them, stopped, in their cgroups.
  static Result<void> make_tasks(Landing& landing, const engine::CarrySet& set,
                                 const operation::Context& context) {
    auto begin = os::monotonic_ns();
    TRY_ASSIGN(const auto loaded, engine::LoadedSet::load(landing.directory() + "/images"));
    if (!landing.machine_is_up()) TRY(put_network_back(landing.manifest, context));
    context.fact({{"engine.images_read_ms", os::milliseconds_since(begin)}});
    engine::keep_clear_of(set.highest_id());
    if (!landing.machine_is_up() && loaded.wants_journald()) {
      TRY_ASSIGN(auto sockets, systemd::JournaldSockets::listen());
      landing.tasks->journald.emplace(std::move(sockets));
    }
    begin = os::monotonic_ns();
    TRY_ASSIGN(auto made, loaded.make());
    landing.tasks->made.emplace(std::move(made));
    context.fact({{"engine.rebuild_ms", os::milliseconds_since(begin)}});
    TRY(machine::place_in_cgroups(set));
    return verify(set);
  }
};

}  // namespace

std::unique_ptr<operation::Stage> make_restore_stage(Landing* landing) {
  return std::make_unique<RestoreStage>(landing);
}

}  // namespace upkeep::jump
