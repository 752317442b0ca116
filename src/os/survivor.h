#pragma once
// What is changed in others' sockets for a moment is put back even if we are killed in that moment.
//
// Tasks that we trace run on when we die. Were a socket of theirs in repair mode then, their next call would
// fail, and they would give up the connection. So a process of ours outlives us: it has our memory and our
// descriptors and traces the thread that traces the tasks (PTRACE_O_TRACEEXIT). The kernel stops a thread
// that is about to end there, one that was killed by SIGKILL too, before it lets go of whom that thread
// traces (do_exit(); Linux 6.1 to 7.3): the socket is put back first, the tasks run on afterwards.
//
// Nothing is put back where both are killed at once (SIGKILL to a whole cgroup), nor where we are traced
// ourselves (strace(1)), which leaves no room for another tracer. Needs CAP_SYS_PTRACE where the Yama module
// restricts ptrace(2).

#include <sys/types.h>

#include <initializer_list>
#include <memory>

#include "os/fd.h"

namespace upkeep::os {

// setsockopt(2) of an int.
struct PromisedOption {
  int fd = -1, level = 0, name = 0, value = 0;
};

class Survivor {
 public:
  // TRACER: the thread of this process whose end lets the tasks run on. Nothing is started before the first
  // promise. One thread at a time may make promises, whichever.
  explicit Survivor(pid_t tracer);
  Survivor(const Survivor&) = delete;
  ~Survivor();

  // Lasts until what was changed has been put back.
  class Promise {
   public:
    Promise() = default;
    Promise(Promise&& other) noexcept;
    Promise& operator=(Promise&& other) noexcept;
    ~Promise() { drop(); }
    void drop();

   private:
    friend class Survivor;
    Survivor* survivor_ = nullptr;
    unsigned before_ = 0;
  };
  // To be made before something is changed: if we end during it the OPTIONS are set, in this order; those of
  // a later promise first. Promises end in the opposite order, and there are a few of them at a time.
  Promise promise(std::initializer_list<PromisedOption> options);

  // Ends it until the next promise. A tracer's own stops cost something while it is traced.
  void let_go();

 private:
  struct State;
  void start();
  const pid_t tracer_;
  const UniqueFd tasks_;  // its directory in /proc as whoever begins sees it
  pid_t child_ = 0;
  bool impossible_ = false;
  std::unique_ptr<State> state_;
};

}  // namespace upkeep::os
