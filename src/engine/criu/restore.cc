#include <poll.h>
#include <sys/stat.h>
#include <nlohmann/json.hpp>

#include "engine/cgroup.h"
#include "engine/criu/operations.h"
#include "engine/criu/stand_in.h"
#include "os/file.h"

namespace upkeep::engine::criu {
namespace {

using Clock = std::chrono::steady_clock;
// A restore that takes longer than this is stuck: a slow emulated machine reads some 50 MB/s.
constexpr std::chrono::seconds kRestoring(60);
constexpr std::chrono::seconds kGivingUp(5);  // for criu to end the tasks by itself
constexpr std::uint64_t kSlowestBytesPerSecond = 10'000'000;

struct TreeImages {
  pid_t root = 0;
  std::string folder;
  bool shell_job = false;
  std::vector<std::string> outside;
  std::map<std::string, std::uint64_t> files;  // name -> size
};

struct Manifest {
  std::vector<TreeImages> trees;
  CarrySet carry;
};

Result<Manifest> read_manifest(const nlohmann::json& json) try {
  if (json.at("engine").get<std::string>() != "criu")
    return Err("the images were made by engine '{}'", json.at("engine").get<std::string>());
  if (int version = json.at("version").get<int>(); version != 1)
    return Err("manifest of an unknown version {} of engine 'criu'", version);
  Manifest manifest;
  for (const auto& entry : json.at("trees")) {
    TreeImages tree{entry.at("root").get<pid_t>(), entry.at("images").get<std::string>(),
                    entry.at("shell_job").get<bool>(), entry.at("outside").get<std::vector<std::string>>(),
                    entry.at("files").get<std::map<std::string, std::uint64_t>>()};
    if (tree.folder.empty() || tree.folder.find('/') != std::string::npos || tree.folder.starts_with(".")) {
      return Err("manifest: '{}' is no folder of images", tree.folder);
    }
    manifest.trees.push_back(std::move(tree));
  }
  TRY_ASSIGN(manifest.carry, carry_set_from_json(json.at("carry")));
  if (manifest.trees.empty() || manifest.trees.size() != manifest.carry.trees.size())
    return Err("manifest: trees are missing");
  return manifest;
} catch (const nlohmann::json::exception& error) {
  return Err("manifest: {}", error.what());
}

std::vector<std::string> names_outside(const Manifest& manifest) {
  std::vector<std::string> names;
  for (const auto& tree : manifest.trees) names.insert(names.end(), tree.outside.begin(), tree.outside.end());
  return names;
}

// Contents are checksummed by whoever carries the images. Sizes are looked at here since criu does not.
Result<std::uint64_t> check_files(const TreeImages& tree, const std::string& images) {
  std::uint64_t total = 0;
  for (const auto& [name, size] : tree.files) {
    const std::string path = images + "/" + tree.folder + "/" + name;
    struct stat info = {};
    if (name.find('/') != std::string::npos) return Err("manifest: '{}' is no image", name);
    if (::stat(path.c_str(), &info) < 0) return ErrnoErr("image {}", path);
    if (static_cast<std::uint64_t>(info.st_size) != size)
      return Err("image {} has {} bytes instead of {}", path, info.st_size, size);
    total += size;
  }
  return total;
}

Result<Session> begin_restore(const EngineOptions& options, const TreeImages& tree,
                              const CarriedTree& carried, const std::string& images) {
  TRY_ASSIGN(auto job, open_job(options, images + "/" + tree.folder, "restore", tree.root));
  WorkerOptions how;
  how.no_helpers = true;
  TRY_ASSIGN(auto worker, Worker::start(options.program, how));
  Session session(std::move(worker), title_of(carried), job.log);
  Options request;
  request.images_fd = job.images.release();  // criu opens them when it gets to it: they stay until it ends
  request.work_fd = job.work.release();
  request.log_file = "criu.log";
  request.shell_job = tree.shell_job;
  auto sent = session.request(encode_request(RequestType::restore, request));
  session.keep(os::UniqueFd(request.images_fd), os::UniqueFd(request.work_fd));
  if (!sent) return tl::unexpected(std::move(sent).error());
  return session;
}

// Refused: criu ends every task that it made. Waits until the last one is gone.
void abandon(std::vector<Session>& sessions, const std::vector<os::UniqueFd>& tasks) {
  for (auto& session : sessions) {
    if (!session.at().empty()) (void)session.answer(false);
  }
  for (auto& session : sessions) {
    session.worker().hang_up();
    if (!session.worker().wait(kGivingUp)) session.worker().kill_all();
  }
  sessions.clear();
  for (const auto& task : tasks) {
    pollfd fd = {task.get(), POLLIN, 0};
    (void)::poll(&fd, 1, 5000);
  }
}

// Up to the point where every task exists, stopped.
Result<void> rebuild(std::vector<Session>& sessions, const Manifest& manifest, const RestoreHooks& hooks,
                     const Patience& patience) {
  auto begin = Clock::now();
  if (hooks.on_started) TRY(hooks.on_started());  // criu reads images meanwhile
  TRY(run_until(sessions, "pre-restore", patience));
  emit_fact(hooks.facts, "images read", {{"engine.images_read_ms", milliseconds_since(begin)}});
  begin = Clock::now();
  TRY_ASSIGN(auto stand_ins, StandIns::bind(names_outside(manifest)));
  TRY(answer_all(sessions, true));
  TRY(run_until(sessions, "post-restore", patience));
  emit_fact(hooks.facts, "tasks made", {{"engine.rebuild_ms", milliseconds_since(begin)}});
  return {};
}

Result<std::vector<os::UniqueFd>> hold(const std::vector<pid_t>& pids) {
  std::vector<os::UniqueFd> tasks;
  for (pid_t pid : pids) {
    auto task = os::open_pidfd(pid);
    if (!task) return Err("criu did not make task {}", pid);
    tasks.push_back(std::move(*task));
  }
  return tasks;
}

Result<void> agree(const EngineOptions& options, const Manifest& manifest, const Restored& restored,
                   const RestoreHooks& hooks) {
  TRY(place_in_cgroups(manifest.carry, options.cgroup_root));
  if (hooks.on_restored) TRY(hooks.on_restored(restored.pids));
  return {};
}

Result<void> let_run(std::vector<Session>& sessions, const RestoreHooks& hooks, const Patience& patience) {
  const auto begin = Clock::now();
  TRY(answer_all(sessions, true));
  TRY(run_until(sessions, "pre-resume", patience));
  if (hooks.on_resuming) hooks.on_resuming();
  TRY(answer_all(sessions, true));
  TRY(run_until(sessions, "", patience));
  emit_fact(hooks.facts, "tasks run", {{"engine.resume_ms", milliseconds_since(begin)}});
  return {};
}

}  // namespace

Result<Restored> restore_trees(const EngineOptions& options, KernelProbe& probe, const std::string& images,
                               const nlohmann::json& json, const RestoreHooks& hooks) {
  TRY_ASSIGN(auto manifest, read_manifest(json));
  std::uint64_t bytes = 0;
  for (const auto& tree : manifest.trees) {
    TRY_ASSIGN(auto size, check_files(tree, images));
    bytes += size;
  }
  TRY(nobody_is_there(manifest.carry));
  keep_clear_of(manifest.carry.highest_id());
  TRY(probe.wait(hooks.facts));
  const std::chrono::seconds limit = kRestoring + std::chrono::seconds(bytes / kSlowestBytesPerSecond);
  const Patience patience{Clock::now() + limit, {}, "restoring does not get on"};
  std::vector<Session> sessions;
  for (std::size_t i = 0; i < manifest.trees.size(); ++i) {
    TRY_ASSIGN(auto session, begin_restore(options, manifest.trees[i], manifest.carry.trees[i], images));
    sessions.push_back(std::move(session));
  }
  const Restored restored{manifest.carry.roots(), manifest.carry.pids()};
  std::vector<os::UniqueFd> tasks;
  auto made = rebuild(sessions, manifest, hooks, patience)
                  .and_then([&] { return hold(restored.pids); })
                  .map([&](auto held) { tasks = std::move(held); });
  auto agreed = made.and_then([&] { return agree(options, manifest, restored, hooks); });
  if (!agreed) {
    abandon(sessions, tasks);
    return tl::unexpected(std::move(agreed).error());
  }
  TRY(let_run(sessions, hooks, patience));
  return restored;
}

}  // namespace upkeep::engine::criu
