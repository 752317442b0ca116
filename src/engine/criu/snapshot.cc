#include <sys/stat.h>
#include <nlohmann/json.hpp>

#include "engine/criu/operations.h"
#include "engine/criu/socket_facts.h"
#include "engine/criu/stand_in.h"
#include "engine/criu/timer_images.h"
#include "os/file.h"

namespace upkeep::engine::criu {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kStart(120);  // criu probing the kernel, in emulation
constexpr std::chrono::seconds kLetGo(60);

// Name -> size of the images in FOLDER.
std::map<std::string, std::uint64_t> image_sizes(const std::string& folder) {
  std::map<std::string, std::uint64_t> sizes;
  auto names = os::list_directory(folder);
  if (!names) return sizes;
  for (const auto& name : *names) {
    struct stat info = {};
    if (::lstat((folder + "/" + name).c_str(), &info) == 0 && S_ISREG(info.st_mode))
      sizes[name] = static_cast<std::uint64_t>(info.st_size);
  }
  return sizes;
}

// criu was killed in the middle: tracing ends with the tracer and its parasite heals itself, but sockets stay
// in repair mode.
void heal(const CarrySet& set) {
  for (pid_t pid : set.pids()) (void)end_tcp_repair(pid);
}

class CriuStoodStill : public StoodStill {
 public:
  CriuStoodStill(std::vector<Session> sessions, CarrySet set, nlohmann::json manifest)
      : sessions_(std::move(sessions)), set_(std::move(set)), manifest_(std::move(manifest)) {}
  ~CriuStoodStill() override { (void)let_go(); }
  const nlohmann::json& manifest() const override { return manifest_; }
  const CarrySet& set() const override { return set_; }

  Result<void> resume() override { return let_go(); }

 private:
  // Most critical first: the reverse of the order of stopping.
  Result<void> let_go() {
    Result<void> result;
    for (auto session = sessions_.rbegin(); session != sessions_.rend(); ++session) {
      auto answered = session->answer(true);
      if (!answered && result) result = std::move(answered);
    }
    if (result)
      result = run_until(sessions_, "", {Clock::now() + kLetGo, {}, "criu does not let the tasks go"});
    break_off(sessions_);
    if (!result) heal(set_);
    return result;
  }

  std::vector<Session> sessions_;
  CarrySet set_;
  nlohmann::json manifest_;
};

struct Plan {
  const CarriedTree* tree;
  std::string images;
  bool own_ipc, precopied;
  std::vector<std::string> outside;  // see stand_in.h
  std::map<std::string, std::uint64_t> files;
};

Result<Session> begin_dump(const EngineOptions& options, const Plan& plan) {
  TRY(os::remove_tree(plan.images));
  TRY(os::make_directories(plan.images, 0700));
  TRY_ASSIGN(auto job, open_job(options, plan.images, "dump", plan.tree->root));
  WorkerOptions how;
  how.dumps = true;
  how.own_ipc = plan.own_ipc;
  TRY_ASSIGN(auto worker, Worker::start(options.program, how));
  Session session(std::move(worker), title_of(*plan.tree), job.log);
  Options request;
  request.images_fd = job.images.get();
  request.work_fd = job.work.get();
  request.pid = plan.tree->root;
  request.log_file = "criu.log";
  request.leave_running = true;
  request.shell_job = plan.tree->led_from_outside();
  if (plan.precopied) {
    request.track_mem = true;
    request.parent_images = "../" + precopy_folder(plan.tree->root);
  }
  TRY(session.request(encode_request(RequestType::dump, request)));
  // criu opens both folders through our descriptors before its first notification.
  TRY(run_until({&session, 1}, "pre-dump", {Clock::now() + kStart, {}, "criu does not start"}));
  return session;
}

nlohmann::json manifest_of(const CarrySet& set, const std::vector<Plan>& plans) {
  auto trees = nlohmann::json::array();
  for (const auto& plan : plans) {
    trees.push_back({{"root", plan.tree->root},
                     {"images", tree_folder(plan.tree->root)},
                     {"shell_job", plan.tree->led_from_outside()},
                     {"own_ipc", plan.own_ipc},
                     {"outside", plan.outside},
                     {"files", plan.files}});
  }
  return {{"engine", "criu"}, {"version", 1}, {"trees", std::move(trees)}, {"carry", to_json(set)}};
}

// The same roots with the tasks that they have now.
Result<void> look_again(CarrySet& set, std::vector<Plan>& plans) {
  TRY_ASSIGN(auto now, collect(set.roots()));
  if (now.trees.size() != plans.size()) return Err("one of the trees has become a part of another one");
  set = std::move(now);
  for (std::size_t i = 0; i < plans.size(); ++i) plans[i].tree = &set.trees[i];
  return {};
}

// Stops the trees one after the other, least critical first, then lets all criu read at once. SET becomes
// what stands still.
Result<void> stop_and_read(std::vector<Session>& sessions, CarrySet& set, std::vector<Plan>& plans,
                           const SnapshotRequest& request, const SnapshotHooks& hooks) {
  const auto begin = Clock::now();
  Patience patience{Clock::time_point::max(), hooks.cancelled, "the deadline for the snapshot is over"};
  if (request.deadline.count() > 0) patience.until = begin + request.deadline;
  for (auto& session : sessions) {
    TRY(session.answer(true));
    TRY(run_until({&session, 1}, "query-ext-files", patience));
  }
  emit_fact(hooks.facts, "all tasks stand still", {{"engine.parked_ms", milliseconds_since(begin)}});
  if (hooks.on_parked) TRY(hooks.on_parked());

  const auto closed = Clock::now();
  TRY(answer_all(sessions, true));
  TRY(look_again(set, plans));  // criu reads meanwhile
  for (auto& plan : plans) plan.outside = outside_names(*plan.tree);
  TRY(run_until(sessions, "post-dump", patience));
  std::uint64_t bytes = 0;
  for (auto& plan : plans) {
    TRY_IN(title_of(*plan.tree), correct_timers(plan.images));
    plan.files = image_sizes(plan.images);
    for (const auto& [name, size] : plan.files) bytes += size;
  }
  emit_fact(hooks.facts, "images are complete",
            {{"engine.snapshot_ms", milliseconds_since(closed)}, {"engine.images_bytes", bytes}});
  return {};
}

}  // namespace

Result<std::unique_ptr<StoodStill>> take_snapshot(const EngineOptions& options, const CarrySet& asked,
                                                  const SnapshotRequest& request,
                                                  const SnapshotHooks& hooks) {
  CarrySet set = asked;
  std::vector<Plan> plans;
  std::vector<Session>
      sessions;  // whatever happens below: when they go, criu puts the tasks back as they were
  for (const auto& tree : set.trees) {
    plans.push_back({&tree,
                     request.images + "/" + tree_folder(tree.root),
                     uses_sysv_shared_memory(tree),
                     precopied(request.images, tree.root),
                     {},
                     {}});
    TRY_ASSIGN(auto session, begin_dump(options, plans.back()));
    sessions.push_back(std::move(session));
  }
  if (hooks.on_ready) TRY(hooks.on_ready());
  if (auto done = stop_and_read(sessions, set, plans, request, hooks); !done) {
    break_off(sessions);
    heal(set);
    return tl::unexpected(std::move(done).error());
  }
  auto manifest = manifest_of(set, plans);
  return std::make_unique<CriuStoodStill>(std::move(sessions), std::move(set), std::move(manifest));
}

}  // namespace upkeep::engine::criu
