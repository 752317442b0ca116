#include "jump/old/run.h"

#include "jump/old/stages.h"
#include "net/hold.h"
#include "os/procfs.h"

namespace upkeep::jump {

operation::Stages Run::stages() { return old_kernel_stages(this); }

void Run::open_window(const operation::Context& context) {
  manifest.window_begin_ns = os::realtime_ns();
  context.fact({{"window_begin_ns", manifest.window_begin_ns}});
  context.start_deadline();
}

void Run::let_go() {
  if (!stopped) return;
  (void)net::release_network();
  stopped.reset();
}

Result<pid_t> lowest_safe_pid() {
  TRY_ASSIGN(auto pids, os::list_processes());
  pid_t kernel_threads = 0;
  for (pid_t pid : pids) {
    auto stat = os::read_stat(pid);
    if (stat && stat->kernel_thread()) ++kernel_threads;
  }
  return kernel_threads + kernel_threads / 2 + 50;
}

}  // namespace upkeep::jump
