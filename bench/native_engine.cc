// The parts of this project's engine, timed one by one for bench/engine, page contents left out:
//
//   bench_native_engine snapshot PID MANIFEST     the tree runs on afterwards
//   bench_native_engine restore MANIFEST          the tree is ended afterwards; the recorded one has to be
//   gone
//
// Prints nanoseconds as JSON: {"total": ..., "stop": ..., ...}; restore does before it ends the tree.

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/result.h"
#include "engine/inspect/inspect.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/rebuild.h"
#include "engine/verify/verify.h"
#include "os/file.h"
#include "os/heap.h"

namespace upkeep {
namespace {

using Clock = std::chrono::steady_clock;

class Stopwatch {
 public:
  // What went by since the last mark goes under NAME.
  void mark(const char* name) {
    const auto now = Clock::now();
    parts_[name] = nanoseconds(now - last_);
    parts_["total"] = nanoseconds(now - begin_);
    last_ = now;
  }
  void print() const {
    std::puts(parts_.dump().c_str());
    std::fflush(stdout);
  }

 private:
  static std::int64_t nanoseconds(Clock::duration duration) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
  }
  Clock::time_point begin_ = Clock::now(), last_ = begin_;
  nlohmann::json parts_;
};

Result<void> refuse(const engine::Snapshot& snapshot) {
  for (const auto& obstacle : snapshot.obstacles)
    return Err("process {}, {}: {}", obstacle.pid, obstacle.what, obstacle.why);
  return {};
}

Result<void> snapshot(pid_t pid, const std::string& manifest) {
  Stopwatch watch;
  {
    TRY_ASSIGN(const auto before, engine::glance({pid}));
    TRY(refuse(before));
    watch.mark("glance");
    TRY_ASSIGN(const auto tree, engine::StoppedTree::stop({pid}));
    watch.mark("stop");
    engine::InspectRequest request;
    request.pages.runs = false;
    TRY_ASSIGN(const auto model, engine::inspect(tree, request));
    TRY(refuse(model));
    watch.mark("inspect");
    TRY(os::replace_file(manifest, engine::write_manifest(model), 0600));
    watch.mark("write");
  }
  watch.mark("let go");
  watch.print();
  return {};
}

Result<void> restore(const std::string& manifest) {
  Stopwatch watch;
  TRY_ASSIGN(auto text, os::read_file(manifest));
  TRY_ASSIGN(const auto model, engine::read_manifest(std::move(text)));
  watch.mark("read");
  TRY_ASSIGN(auto tasks, engine::rebuild(model, "/dev/null"));
  watch.mark("rebuild");
  TRY_ASSIGN(auto tree, engine::verify(model, std::move(tasks)));
  watch.mark("verify");
  watch.print();
  return tree.kill();
}

}  // namespace
}  // namespace upkeep

int main(int argc, char** argv) {
  upkeep::os::grow_heap_in_large_steps();  // as upkeep does
  const std::string_view verb = argc > 1 ? argv[1] : "";
  upkeep::Result<void> done = upkeep::Err("snapshot PID MANIFEST, or restore MANIFEST");
  if (verb == "snapshot" && argc == 4) done = upkeep::snapshot(std::stoi(argv[2]), argv[3]);
  if (verb == "restore" && argc == 3) done = upkeep::restore(argv[2]);
  if (!done) {
    std::fprintf(stderr, "bench_native_engine: %s\n", done.error().message().c_str());
    return 1;
  }
  return 0;
}
