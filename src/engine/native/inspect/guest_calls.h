#pragma once
// System calls run in a stopped thread, for the few things that only it can say (actions, alternate stack,
// timers).
//
// They are run from a complete signal frame, by code that the task has mapped itself: a `syscall; ret` whose
// return address is the code with which signal handlers return. Nothing of the task's is overwritten: the
// frame lies in the part of the main stack that was never touched, or below the thread's red zone as a
// signal's would. If this process dies between any two instructions the thread comes out of the call, returns
// into the frame, and stands where it stood.

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "common/result.h"
#include "engine/native/model/address_space.h"
#include "os/ptrace.h"
#include "os/task_memory.h"

namespace upkeep::native {

// Where a process has what is needed: found once for all of its threads.
struct GuestCode {
  std::uint64_t system_call = 0;  // syscall; ret
  std::uint64_t sigreturn = 0;
  std::uint64_t frame = 0;  // never touched memory for frames; 0: use the thread's own stack
};
// The error names the reason why nothing can be run in this process.
Result<GuestCode> find_guest_code(pid_t pid, const std::vector<Mapping>& mappings,
                                  const os::TaskMemory& memory);

class GuestCalls {
 public:
  // The thread stands stopped; from here on until end() it stands in its signal frame, all signals blocked.
  static Result<GuestCalls> begin(const os::Tracee& thread, const os::TaskMemory& memory,
                                  const GuestCode& code);
  GuestCalls(GuestCalls&& other) noexcept;
  GuestCalls& operator=(GuestCalls&&) = delete;
  ~GuestCalls();

  // The kernel's answer: negative errno where the call failed. The Result is about whether it could be made.
  Result<long> call(long number, std::array<std::uint64_t, 6> arguments = {});
  // Memory of the task that calls may write their answers to, 512 bytes of it.
  std::uint64_t scratch() const { return scratch_; }
  template <typename T>
  Result<T> answer() const {
    static_assert(sizeof(T) <= 512);
    return memory_->value<T>(scratch_);
  }
  Result<void> put(std::span<const std::byte> bytes) { return memory_->write(scratch_, bytes); }

  // The thread stands where it stood before, to the last register.
  Result<void> end();

 private:
  GuestCalls(const os::Tracee& thread, const os::TaskMemory& memory) : thread_(&thread), memory_(&memory) {}
  Result<void> await_system_call();
  Result<void> come_to_rest();

  const os::Tracee* thread_;
  const os::TaskMemory* memory_;
  bool active_ = false;
  bool own_page_ = false;
  std::uint64_t frame_ = 0, scratch_ = 0;
  std::size_t written_ = 0;
  user_regs_struct before_ = {}, inside_ = {};
  std::uint64_t mask_ = 0;
};

}  // namespace upkeep::native
