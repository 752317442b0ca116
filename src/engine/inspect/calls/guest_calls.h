#pragma once
// System calls run in a stopped thread, for the few things that only it can say (actions, alternate stack,
// timers).
//
// They are run from a complete signal frame, by code that the task has mapped itself: a `syscall; ret` whose
// return address is the code with which signal handlers return. Nothing of the task's is overwritten: the
// frame lies in the part of the main stack that was never touched, or below the thread's red zone as a
// signal's would. If this process dies between any two instructions the thread comes out of the call, returns
// into the frame, and stands where it stood.

#include <sys/user.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/call_chain.h"
#include "engine/inspect/calls/guest_code.h"
#include "engine/model/task/task.h"
#include "engine/tree/answers.h"
#include "os/ptrace.h"
#include "os/task_memory.h"

namespace upkeep::engine {

struct GuestThread {
  const os::Tracee* thread;
  const os::TaskMemory* memory;
  const GuestCode* code;                   // the same object for all threads of a process
  const StoppedThread* stopped = nullptr;  // where its signal mask and its extended registers are known
  // With which a thread says that it has made many calls (call_chain.h): one that it neither handles nor
  // blocks, and that does nothing by itself. 0: they are made one by one.
  int signal = 0;
};

// What a call has answered.
class GuestAnswer {
 public:
  explicit GuestAnswer(const CallAnswer& answer) : returned_(answer.returned), written_(answer.written) {}
  // Written to AT in the task.
  GuestAnswer(long returned, const os::TaskMemory& memory, std::uint64_t at)
      : returned_(returned), memory_(&memory), at_(at) {}
  // Negative errno where the call failed.
  long returned() const { return returned_; }
  template <typename T>
  Result<T> written() const {
    static_assert(sizeof(T) <= kGuestScratch);
    if (memory_ != nullptr) return memory_->value<T>(at_);
    T value = {};
    if (written_.size() < sizeof value) return Err("an answer of {} bytes", sizeof value);
    std::memcpy(&value, written_.data(), sizeof value);
    return value;
  }

 private:
  long returned_;
  std::span<const std::byte> written_;
  const os::TaskMemory* memory_ = nullptr;
  std::uint64_t at_ = 0;
};

class GuestCalls {
 public:
  // The thread stands stopped; from here on until end() it stands in its signal frame, all signals blocked.
  static Result<GuestCalls> begin(const os::Tracee& thread, const os::TaskMemory& memory,
                                  const GuestCode& code);
  GuestCalls(GuestCalls&& other) noexcept;
  GuestCalls& operator=(GuestCalls&&) = delete;
  ~GuestCalls();

  // The Result is about whether it could be made. An argument that is kAnswerPlace becomes an address of the
  // task's where there is room for 512 bytes.
  Result<GuestAnswer> call(const GuestCall& call);

  // The thread stands where it stood before, to the last register.
  Result<void> end();

 private:
  friend class GuestThreads;
  GuestCalls(const os::Tracee& thread, const os::TaskMemory& memory) : thread_(&thread), memory_(&memory) {}
  // USED: how much of the memory for frames others have; what this one takes is added to it.
  static Result<GuestCalls> begin(const GuestThread& one, std::uint64_t& used);
  Result<void> begin_call(const GuestCall& call);
  Result<void> go_on_to_its_end();
  Result<long> end_call();
  Result<os::Stop> next_stop();  // the end of the task is an error
  Result<void> await_system_call();
  Result<void> begin_chain(std::span<const GuestCall> calls);
  Result<void> await_end_of_chain();
  Result<std::vector<CallChain::Answer>> end_chain(std::size_t count);
  bool makes_chains() const { return signal_ != 0; }
  Result<void> go_to_rest();
  Result<void> end_at_rest();

  const os::Tracee* thread_;
  const os::TaskMemory* memory_;
  bool active_ = false;
  bool own_page_ = false;
  std::uint64_t frame_ = 0, scratch_ = 0;
  std::size_t written_ = 0;  // from the scratch on
  int signal_ = 0;
  ChainCode chain_;
  std::uint64_t chain_address_ = 0;
  bool at_signal_ = false;  // it stands at the end of a chain
  user_regs_struct before_ = {}, inside_ = {};
  std::uint64_t mask_ = 0;
};

}  // namespace upkeep::engine
