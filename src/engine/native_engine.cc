#include "engine/native_engine.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "engine/cgroups.h"
#include "engine/image.h"
#include "engine/inspect/memory/own_pages.h"
#include "engine/kernel_crossing.h"
#include "engine/verify/verify.h"
#include "os/file.h"
#include "os/kernel_memory.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kVersion = 1;

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void tell(const EventSink& sink, const std::string& message, nlohmann::json data) {
  if (sink) sink(Event{"fact", "", message, std::move(data), 0, ""});
}

std::string title_of(pid_t id) {
  auto stat = os::read_stat(id);
  return fmt::format("{} ({})", id, stat ? stat->comm : "?");
}

constexpr const char* kLeaveItOut =
    "leave it out of what is carried: it is stopped before the window and started again after it";

class Checker {
 public:
  Checker(const CarrySet& set, const Destination& destination) : set_(set), destination_(destination) {}

  std::vector<Finding> look() {
    auto seen = glance(set_.roots());
    if (!seen) {
      refuse("--carry", seen.error().message(), "");
      return std::move(findings_);
    }
    for (const auto& obstacle : seen->obstacles)
      refuse(fmt::format("{}, {}", title_of(obstacle.pid), obstacle.what), obstacle.why, obstacle.remedy);
    for (const auto& loss : seen->losses)
      findings_.push_back({Finding::Severity::warning, fmt::format("{}, {}", title_of(loss.pid), loss.what),
                           loss.why, loss.remedy});
    for (const auto& file : seen->files) {
      const auto flags = file.io_uring ? file.io_uring->flags.value_or(0) : 0;
      refuse(file.name, why_not_this_ring(flags, destination_), kOlderRing);
    }
    look_for_guard_regions(*seen);
    for (const auto& tree : set_.trees) {
      for (const auto& task : tree.tasks) look_at(task);
    }
    return std::move(findings_);
  }

 private:
  // Through all of their memory: only where it matters.
  void look_for_guard_regions(const Snapshot& seen) {
    const auto why = why_not_guard_regions(destination_);
    if (why.empty()) return;
    for (const auto& process : seen.processes) {
      const auto pagemap = os::open_file(fmt::format("/proc/{}/pagemap", process.pid), O_RDONLY);
      if (!pagemap) continue;  // it has ended
      const auto pages = own_pages(*pagemap, process.memory.mappings);
      if (pages && std::ranges::any_of(*pages, [](const auto& of_one) { return !of_one.guards.empty(); }))
        refuse(title_of(process.pid), why, kNewerGuards);
    }
  }
  void look_at(const CarriedTask& task) {
    for (pid_t id : task.threads) refuse(title_of(task.pid), why_not_this_id(id, destination_), kHigherId);
    // Their leaders may have ended, which somebody has to stand in for.
    for (pid_t id : {task.session, task.group}) {
      if (!set_.contains(id) && said_.insert(id).second)
        refuse(title_of(task.pid), why_not_this_id(id, destination_), kHigherId);
    }
    const auto rseq = rseq_size_of(fmt::format("/proc/{}", task.pid));
    refuse(title_of(task.pid), why_not_this_rseq(rseq, destination_), kSmallerRseq);
  }
  // WHY: empty where there is nothing to refuse.
  void refuse(std::string what, std::string why, std::string remedy) {
    if (remedy.empty()) remedy = kLeaveItOut;
    if (!why.empty())
      findings_.push_back({Finding::Severity::refusal, std::move(what), std::move(why), std::move(remedy)});
  }

  const CarrySet& set_;
  const Destination& destination_;
  std::vector<Finding> findings_;
  std::set<pid_t> said_;
};

class NativeStoodStill : public StoodStill {
 public:
  NativeStoodStill(StoppedTree tree, CarrySet set)
      : tree_(std::move(tree)),
        set_(std::move(set)),
        manifest_({{"engine", "native"}, {"version", kVersion}, {"carry", to_json(set_)}}) {}
  const nlohmann::json& manifest() const override { return manifest_; }
  const CarrySet& set() const override { return set_; }
  Result<void> resume() override {
    tree_.reset();
    return {};
  }

 private:
  std::optional<StoppedTree> tree_;
  CarrySet set_;
  nlohmann::json manifest_;
};

Result<CarrySet> carried_by(const nlohmann::json& manifest) try {
  if (const auto name = manifest.at("engine").get<std::string>(); name != "native")
    return Err("the image was made by engine '{}'", name);
  if (const int version = manifest.at("version").get<int>(); version != kVersion)
    return Err("an image of the unknown version {} of engine 'native'", version);
  return carry_set_from_json(manifest.at("carry"));
} catch (const nlohmann::json::exception& error) {
  return Err("manifest: {}", error.what());
}

bool wants_journald(const Snapshot& snapshot) {
  return std::ranges::any_of(snapshot.files, [](const auto& file) {
    return file.socket && unix_name(file.socket->remote).starts_with("/run/systemd/journal/");
  });
}

class NativeEngine : public Engine {
 public:
  std::vector<Finding> check(const CarrySet& set, const Destination& destination) override {
    return Checker(set, destination).look();
  }

  Result<bool> prepare(const CarrySet& set, const std::string& images, const EventSink& facts) override {
    if (!PagesAhead::possible()) return false;
    remove_image(images);
    TRY_ASSIGN(auto image, ImageWriter::create(images));
    std::uint64_t bytes = 0;
    for (pid_t pid : set.pids()) {
      auto copied = image.copy_ahead(pid);
      const auto stat = os::read_stat(pid);
      const bool ended = !stat || stat->state == 'Z' || stat->state == 'X';  // it has no memory any more
      if (!copied && !ended) return tl::unexpected(std::move(copied).error());
      bytes += copied.value_or(0);
    }
    tell(facts, "memory copied beforehand",
         {{"engine.prepare_pause_ms", 0}, {"engine.prepare_pages", bytes / kPage}});
    image_.emplace(std::move(image));
    return true;
  }

  Result<std::unique_ptr<StoodStill>> snapshot(const CarrySet& set, const SnapshotRequest& request,
                                               const SnapshotHooks& hooks) override {
    const auto begin = Clock::now();
    auto still_wanted = [&]() -> Result<void> {
      if (hooks.cancelled && hooks.cancelled()) return tl::unexpected(Error("it was broken off", ECANCELED));
      if (request.deadline.count() > 0 && Clock::now() > begin + request.deadline)
        return tl::unexpected(Error("the deadline for the snapshot is over", ETIMEDOUT));
      return {};
    };
    auto image = std::exchange(image_, std::nullopt);
    if (!image) {
      remove_image(request.images);
      TRY_ASSIGN(image, ImageWriter::create(request.images));
    }
    if (hooks.on_ready) TRY(hooks.on_ready());
    TRY_ASSIGN(auto tree, StoppedTree::stop(set.roots()));
    tell(hooks.facts, "all tasks stand still", {{"engine.parked_ms", milliseconds_since(begin)}});
    TRY(still_wanted());
    if (hooks.on_parked) TRY(hooks.on_parked());
    const auto closed = Clock::now();
    TRY_ASSIGN(auto now, collect(set.roots()));
    TRY(image->write(tree, /*durable=*/false));
    TRY(still_wanted());
    tell(hooks.facts, "the image is complete",
         {{"engine.snapshot_ms", milliseconds_since(closed)}, {"engine.images_bytes", image->page_bytes()}});
    return std::make_unique<NativeStoodStill>(std::move(tree), std::move(now));
  }

  Result<Restored> restore(const std::string& images, const nlohmann::json& manifest,
                           const RestoreHooks& hooks) override {
    TRY_ASSIGN(const auto carried, carried_by(manifest));
    auto begin = Clock::now();
    TRY_ASSIGN(auto saved, load_image(images));
    TRY_ASSIGN(const auto snapshot, for_this_kernel(std::move(saved)));
    if (hooks.on_started) TRY(hooks.on_started());
    tell(hooks.facts, "image read", {{"engine.images_read_ms", milliseconds_since(begin)}});
    TRY(nobody_is_there(carried));
    keep_clear_of(carried.highest_id());
    if (hooks.on_journald_wanted && wants_journald(snapshot)) TRY(hooks.on_journald_wanted());
    begin = Clock::now();
    TRY_ASSIGN(auto tasks, rebuild(snapshot, pages_of(images)));
    auto connections = std::move(tasks.connections());
    TRY_ASSIGN(auto tree, verify(snapshot, std::move(tasks)));
    tell(hooks.facts, "tasks made", {{"engine.rebuild_ms", milliseconds_since(begin)}});
    const Restored restored{carried.roots(), carried.pids()};
    if (auto agreed = agree(carried, restored, hooks); !agreed) {
      (void)tree.kill();
      return tl::unexpected(std::move(agreed).error());
    }
    begin = Clock::now();
    if (auto live = connections.go_live(); !live)
      tell(hooks.facts, "connections", {{"engine.connections_lost", live.error().message()}});
    if (hooks.on_resuming) hooks.on_resuming();
    connections.ask_peers();
    tree = StoppedTree::adopt({});
    tell(hooks.facts, "tasks run", {{"engine.resume_ms", milliseconds_since(begin)}});
    return restored;
  }

 private:
  static Result<void> agree(const CarrySet& carried, const Restored& restored, const RestoreHooks& hooks) {
    TRY(place_in_cgroups(carried));
    if (hooks.on_restored) TRY(hooks.on_restored(restored.pids));
    return {};
  }

  std::optional<ImageWriter> image_;  // begun by prepare()
  os::KernelMemory::Use memory_;      // by all looks of one run
};

}  // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<NativeEngine>(); }

}  // namespace upkeep::engine
