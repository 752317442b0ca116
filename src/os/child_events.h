#pragma once
// Waiting until something happens to a child or to a traced task, whichever: waitpid(2) has no time limit,
// and whoever sleeps between two looks is either late or busy. The kernel tells of every stop and end by
// SIGCHLD; while one of these is there the signal is held back, so that none is missed between looking and
// waiting:
//
//   ChildEvents events;
//   while (!something_has_happened()) events.wait(milliseconds(10));
//
// A limit is needed in any case: in a program with several threads another one may get the signal.

#include <signal.h>

#include <chrono>

namespace upkeep::os {

class ChildEvents {
 public:
  ChildEvents();
  ChildEvents(const ChildEvents&) = delete;
  ~ChildEvents();
  void wait(std::chrono::nanoseconds limit) const;

 private:
  sigset_t before_ = {};
};

}  // namespace upkeep::os
