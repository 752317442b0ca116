#include "jump/new/landing.h"

#include <fcntl.h>
#include <unistd.h>

#include "engine/engine.h"
#include "machine/cgroups.h"
#include "machine/huge_page_pools.h"
#include "machine/temporary_files.h"
#include "net/hold.h"
#include "net/prod.h"
#include "net/snapshot.h"
#include "net/tcp_peers.h"
#include "os/child.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::jump {
namespace {

class Restoration {
 public:
  Restoration(const Landing& landing, const RestoreOptions& options, const EventSink& emit)
      : landing_(landing), manifest_(landing.manifest), options_(options), emit_(emit) {}

  Result<void> restore() {
    TRY_ASSIGN(set_, engine::carry_set_from_json(manifest_.carry_set));
    TRY_ASSIGN(peers_, net::tcp_peers_from_json(manifest_.tcp_peers));
    TRY(net::hold_network());
    (void)::sethostname(manifest_.hostname.c_str(), manifest_.hostname.size());
    TRY_ASSIGN(const auto fewer_pages, machine::make_pools(manifest_.huge_pages));
    for (const auto& warning : fewer_pages) emit_({"warning", "restore", warning});
    TRY(machine::put_back_temporary_files(manifest_.temporary_files, landing_.folder + "/tmpfs"));
    TRY_ASSIGN(auto made, make_tasks());
    emit_({"stage_done", "restore", fmt::format("{} tasks rebuilt", made.pids().size())});
    emit_({"stage_begun", "resume", ""});
    resume(made);
    emit_({"stage_done", "resume", fmt::format("{} tasks run", set_.pids().size())});
    return {};
  }

 private:
  void fact(const std::string& stage, const nlohmann::json& facts) { emit_({"fact", stage, "", facts}); }

  // All of them, stopped, in their cgroups. From here on there is no way back.
  Result<engine::MadeSet> make_tasks() {
    auto begin = os::monotonic_ns();
    TRY_ASSIGN(const auto loaded, engine::LoadedSet::load(landing_.folder + "/images"));
    TRY(put_network_back());
    fact("restore", {{"engine.images_read_ms", os::milliseconds_since(begin)}});
    engine::keep_clear_of(set_.highest_id());
    if (options_.on_journald_wanted && loaded.wants_journald()) TRY(options_.on_journald_wanted());
    begin = os::monotonic_ns();
    TRY_ASSIGN(auto made, loaded.make());
    fact("restore", {{"engine.rebuild_ms", os::milliseconds_since(begin)}});
    TRY(machine::place_in_cgroups(set_));
    TRY(verify());
    return made;
  }

  void resume(engine::MadeSet& made) {
    const auto begin = os::monotonic_ns();
    if (auto live = made.go_live(); !live)
      fact("resume", {{"engine.connections_lost", live.error().message()}});
    open_network();
    (void)made.release();
    fact("resume", {{"engine.resume_ms", os::milliseconds_since(begin)}});
  }

  Result<void> put_network_back() {
    if (!options_.put_network_back) return {};
    TRY_ASSIGN(auto network, net::snapshot_from_json(manifest_.network));
    TRY_ASSIGN(auto outcome, net::put_back(network));
    for (const auto& warning : outcome.warnings) emit_({"warning", "restore", warning});
    put_rules_back();
    return {};
  }

  // The machine's own packet filter is there before the first packet is. A ruleset that this kernel does not
  // take is no reason to lose the tasks: it is told, and systemd loads the configured one a moment later.
  void put_rules_back() {
    const auto nft = os::find_program("nft");
    if (manifest_.nft_ruleset.empty() || nft.empty()) return;
    os::SpawnOptions options;
    options.input = manifest_.nft_ruleset;
    if (auto loaded = os::run_checked({nft, "-f", "-"}, options); !loaded) {
      emit_(
          {"warning", "restore", "the packet filter's rules were not put back: " + loaded.error().message()});
    }
  }

  // Every task is there, as what it was.
  Result<void> verify() {
    for (const auto& tree : set_.trees) {
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

  void open_network() {
    if (auto released = net::release_network(); !released)
      emit_({"warning", "resume", released.error().message()});
    auto prodded = net::prod_peers(peers_);
    if (!prodded) return emit_({"warning", "resume", prodded.error().message()});
    for (const auto& warning : prodded->warnings) emit_({"warning", "resume", warning});
    if (auto probed = net::probe_windows(set_.pids()); !probed)
      emit_({"warning", "resume", probed.error().message()});
  }

  const Landing& landing_;
  const Manifest& manifest_;
  const RestoreOptions& options_;
  const EventSink& emit_;
  engine::CarrySet set_;
  std::vector<net::TcpPeer> peers_;
};

}  // namespace

Result<Landing> extract_store(memory::CarriedImages& store, os::Fd directory) {
  Landing landing;
  TRY_ASSIGN(auto text, store.manifest());
  TRY_ASSIGN(landing.manifest, parse_manifest(text));
  TRY(store.extract(directory));
  return landing;
}

Result<void> restore_tasks(const Landing& landing, const RestoreOptions& options, const EventSink& emit) {
  emit({"stage_begun", "restore", ""});
  auto restored = Restoration(landing, options, emit).restore();
  if (restored) return {};
  emit({"stage_failed", "restore", restored.error().message()});
  (void)net::release_network();
  return restored;
}

std::string kept_store_path(const std::string& state_dir, const std::string& id) {
  return fmt::format("{}/{}/images.store", state_dir, id);
}

}  // namespace upkeep::jump
