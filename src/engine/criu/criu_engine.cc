#include "engine/criu/criu_engine.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>

#include "engine/criu/operations.h"
#include "os/child.h"
#include "os/file.h"

namespace upkeep::engine::criu {
namespace {

constexpr std::chrono::seconds kQuestion(60);  // probing the kernel takes seconds in emulation

class CriuEngine : public Engine {
 public:
  explicit CriuEngine(EngineOptions options) : options_(std::move(options)) {
    if (options_.program.argv.empty()) options_.program.argv = {os::find_program("criu")};
  }
  std::string name() const override { return "criu"; }
  std::vector<Finding> check(const CarrySet& set, const Destination& destination) override {
    return check_set(options_, set, destination);
  }
  Result<bool> prepare(const CarrySet& set, const std::string& images, const EventSink& facts) override {
    return copy_beforehand(options_, set, images, facts);
  }
  Result<std::unique_ptr<StoodStill>> snapshot(const CarrySet& set, const SnapshotRequest& request,
                                               const SnapshotHooks& hooks) override {
    return take_snapshot(options_, set, request, hooks);
  }
  void begin_restore() override {
    if (!probe_) probe_ = std::make_unique<KernelProbe>(options_);
  }
  Result<Restored> restore(const std::string& images, const nlohmann::json& manifest,
                           const RestoreHooks& hooks) override {
    begin_restore();
    const auto probe = std::move(probe_);
    return restore_trees(options_, *probe, images, manifest, hooks);
  }

 private:
  EngineOptions options_;
  std::unique_ptr<KernelProbe> probe_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(EngineOptions options) {
  return std::make_unique<CriuEngine>(std::move(options));
}

Result<Job> open_job(const EngineOptions& options, const std::string& images, const std::string& kind,
                     pid_t root) {
  const std::string work = options.work_folder + "/" + kind + "-" + std::to_string(root);
  TRY(os::make_directories(options.work_folder, 0700));
  TRY(os::remove_tree(work));
  TRY(os::make_directories(work, 0700));
  Job job;
  TRY_ASSIGN(job.images, os::open_file(images, O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(job.work, os::open_file(work, O_RDONLY | O_DIRECTORY));
  job.log = work + "/criu.log";
  return job;
}

Result<Session> begin_asking(const EngineOptions& options, const std::string& request) {
  WorkerOptions how;
  how.own_network = true;
  how.no_helpers = true;
  TRY_ASSIGN(auto worker, Worker::start(options.program, how));
  Session session(std::move(worker), "criu", "");
  TRY(session.request(request));
  return session;
}

Result<Response> answer_of(Session& session) {
  TRY(run_until({&session, 1}, "",
                {std::chrono::steady_clock::now() + kQuestion, {}, "criu does not answer"}));
  return session.response();
}

Result<Response> ask(const EngineOptions& options, const std::string& request) {
  TRY_ASSIGN(auto session, begin_asking(options, request));
  return answer_of(session);
}

Result<void> check_kernel(const EngineOptions& options) {
  TRY_ASSIGN(auto job, open_job(options, "/", "check", 0));
  TRY_ASSIGN(auto worker, Worker::start(options.program, {}));
  Session session(std::move(worker), "criu", job.log);
  Options request;
  request.images_fd = job.images.get();
  request.work_fd = job.work.get();
  request.log_file = "criu.log";
  request.notify = false;
  TRY(session.request(encode_request(RequestType::check, request)));
  return run_until({&session, 1}, "",
                   {std::chrono::steady_clock::now() + kQuestion, {}, "criu does not answer"});
}

std::string tree_folder(pid_t root) { return fmt::format("tree-{}", root); }
std::string precopy_folder(pid_t root) { return fmt::format("pre-{}", root); }
bool precopied(const std::string& images, pid_t root) {
  return os::exists(images + "/" + precopy_folder(root) + "/inventory.img");
}

std::string title_of(const CarriedTree& tree) {
  return fmt::format("{} ({})", tree.root, tree.tasks.front().comm);
}

bool uses_sysv_shared_memory(const CarriedTree& tree) {
  for (const auto& task : tree.tasks) {
    auto maps = os::read_file(fmt::format("/proc/{}/maps", task.pid));
    if (maps && maps->find(" /SYSV") != std::string::npos) return true;
  }
  return false;
}

void emit_fact(const EventSink& sink, const std::string& message, nlohmann::json data) {
  if (sink) sink(Event{"fact", "", message, std::move(data), 0, ""});
}

double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace upkeep::engine::criu
