#include "engine/criu/operations.h"
#include "engine/criu/statistics.h"
#include "os/file.h"

namespace upkeep::engine::criu {
namespace {

constexpr std::chrono::minutes kCopying(10);  // the tasks run all the while

Result<PauseStatistics> copy_tree(const EngineOptions& options, const CarriedTree& tree,
                                  const std::string& images) {
  TRY(os::remove_tree(images));
  TRY(os::make_directories(images, 0700));
  TRY_ASSIGN(auto job, open_job(options, images, "pre", tree.root));
  WorkerOptions how;
  how.dumps = true;
  how.own_ipc = uses_sysv_shared_memory(tree);
  TRY_ASSIGN(auto worker, Worker::start(options.program, how));
  Session session(std::move(worker), title_of(tree), job.log);
  Options request;
  request.images_fd = job.images.get();
  request.work_fd = job.work.get();
  request.pid = tree.root;
  request.log_file = "criu.log";
  request.shell_job = tree.led_from_outside();
  request.track_mem = true;
  TRY(session.request(encode_request(RequestType::single_pre_dump, request)));
  TRY(run_until({&session, 1}, "",
                {std::chrono::steady_clock::now() + kCopying, {}, "copying memory takes too long"}));
  TRY_ASSIGN(auto file, os::read_file_at(job.work, "stats-dump"));
  return parse_dump_statistics(file);
}

}  // namespace

Result<bool> copy_beforehand(const EngineOptions& options, const CarrySet& set, const std::string& images,
                             const EventSink& facts) {
  TRY_ASSIGN(auto features, ask(options, encode_feature_request()));
  if (!features.mem_track.value_or(false))
    return false;  // no soft-dirty bits: every page would be copied again
  for (const auto& tree : set.trees) {
    const std::string folder = images + "/" + precopy_folder(tree.root);
    auto pause = copy_tree(options, tree, folder);
    if (!pause) {
      (void)os::remove_tree(folder);
      return tl::unexpected(std::move(pause).error());
    }
    emit_fact(
        facts, fmt::format("{}: memory copied beforehand", title_of(tree)),
        {{"engine.prepare_pause_ms", pause->paused_ms}, {"engine.prepare_pages", pause->pages_written}});
  }
  return true;
}

}  // namespace upkeep::engine::criu
