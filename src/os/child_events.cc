#include "os/child_events.h"

#include <time.h>

namespace upkeep::os {
namespace {

sigset_t only_sigchld() {
  sigset_t set = {};
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  return set;
}

}  // namespace

ChildEvents::ChildEvents() {
  const auto set = only_sigchld();
  ::pthread_sigmask(SIG_BLOCK, &set, &before_);
}

ChildEvents::~ChildEvents() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

void ChildEvents::wait(std::chrono::nanoseconds limit) const {
  const auto set = only_sigchld();
  const timespec time = {static_cast<time_t>(limit.count() / 1'000'000'000),
                         static_cast<long>(limit.count() % 1'000'000'000)};
  (void)::sigtimedwait(&set, nullptr, &time);
}

}  // namespace upkeep::os
