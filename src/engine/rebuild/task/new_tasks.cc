#include "engine/rebuild/task/new_tasks.h"

#include <signal.h>

#include <chrono>

namespace upkeep::engine {
namespace {

using std::chrono::seconds;

}  // namespace

NewProcess* NewTasks::find(pid_t pid) {
  const auto found = positions_.find(pid);
  return found == positions_.end() ? nullptr : &processes_.at(found->second);
}

NewTasks::~NewTasks() {
  for (const auto& process : processes_) {
    if (!process.threads.empty()) ::kill(process.pid, SIGKILL);
  }
  // The first process of a PID namespace ends last of those in there.
  for (auto process = processes_.rbegin(); process != processes_.rend(); ++process) {
    for (auto thread = process->threads.rbegin(); thread != process->threads.rend(); ++thread) {
      for (;;) {
        auto stop = thread->wait(seconds(5));
        if (!stop || stop->kind == os::Stop::Kind::ended) break;
      }
      thread->forget();
    }
  }
}

}  // namespace upkeep::engine
