#pragma once
// System calls run in a stopped thread, for the few things that only it can say (actions, alternate stack,
// timers).
//
// They are run from a complete signal frame, by code that the task has mapped itself: a `syscall; ret` whose
// return address is the code with which signal handlers return. Nothing of the task's is overwritten: the
// frame lies in the part of the main stack that was never touched, or below the thread's red zone as a
// signal's would. If this process dies between any two instructions the thread comes out of the call, returns
// into the frame, and stands where it stood.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/call_chain.h"
#include "engine/inspect/memory/own_pages.h"
#include "engine/model/memory/address_space.h"
#include "engine/model/task/task.h"
#include "os/ptrace.h"
#include "os/task_memory.h"

namespace upkeep::engine {

// Where a process has what is needed: found once for all of its threads.
struct GuestCode {
  std::uint64_t system_call = 0;  // syscall; ret
  std::uint64_t sigreturn = 0;
  // Memory for frames that the program has never touched, and how much of it there is; none: frames lie on
  // threads' own stacks.
  std::uint64_t frames = 0, room = 0;
  ChainCode chain;  // only what GuestCodeFinder::find_chain() was asked for

  // Where the frame of a thread may lie whose stack pointer is this.
  PageRange frame_range(std::uint64_t stack_pointer) const;
};
// The error names the reason why nothing can be run in this process.
Result<GuestCode> find_guest_code(pid_t pid, const std::vector<Mapping>& mappings,
                                  const os::TaskMemory& memory);

// The same for many processes: where it was in a file it is looked for first in the next process that has the
// file mapped.
class GuestCodeFinder {
 public:
  Result<GuestCode> find(pid_t pid, const std::vector<Mapping>& mappings, const os::TaskMemory& memory);
  // Looks where the system call was FOUND, which is nearly always the C library. Worth it where many threads
  // are asked: all of it is searched, once. What is not there stays 0.
  void find_chain(const std::vector<Mapping>& mappings, const os::TaskMemory& memory, GuestCode& found);

 private:
  struct Place {
    std::uint64_t device, inode, offset;  // in the file
  };
  // One that was searched, and what it has, by offset in the file.
  struct SearchedLibrary {
    std::uint64_t device, inode;
    ChainCode offsets;
  };
  bool find_where_it_was(const std::vector<Mapping>& mappings, const os::TaskMemory& memory,
                         GuestCode& found) const;
  std::optional<Place> system_call_, sigreturn_;
  std::vector<SearchedLibrary> libraries_;
};

struct GuestThread {
  const os::Tracee* thread;
  const os::TaskMemory* memory;
  const GuestCode* code;                   // the same object for all threads of a process
  const StoppedThread* stopped = nullptr;  // where its signal mask and its extended registers are known
  // With which a thread tells that it has made many calls (call_chain.h): one that it neither handles nor
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
    static_assert(sizeof(T) <= 512);
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

// A call, and what becomes of its answer.
struct GuestQuestion {
  const char* name;  // nullptr: it may fail
  GuestCall call;
  std::function<Result<void>(const GuestAnswer& answer)> take;
};
// Takes the answer to a question that nobody but the thread can answer.
Result<void> take_answer(const GuestQuestion& question, pid_t tid, const GuestAnswer& answer);

// Calls of one thread, one by one, whose answers may be known already: it is only brought to make those that
// are not.
class ThreadCalls {
 public:
  using Begin = std::function<Result<GuestCalls*>()>;
  explicit ThreadCalls(GuestCalls& guest) : guest_(&guest) {}
  ThreadCalls(pid_t tid, const KnownAnswers& known, Begin begin)
      : tid_(tid), known_(&known), begin_(std::move(begin)) {}
  // Written answers have room for 512 bytes.
  Result<GuestAnswer> call(const GuestCall& call);

 private:
  GuestCalls* guest_ = nullptr;
  pid_t tid_ = 0;
  const KnownAnswers* known_ = nullptr;
  Begin begin_;
};

// Questions to many threads, of one process or of several. One is asked of each of them before the first
// answer is waited for: nobody waits for a stop that is one of many, and most of the time that a stop takes
// is waiting.
class GuestThreads {
 public:
  using One = GuestThread;
  // As many of THREADS, from the first one on, as there is room for; one at least. Those of one process
  // follow each other.
  static Result<GuestThreads> begin(std::span<const One> threads);
  std::size_t size() const { return threads_.size(); }
  GuestCalls& operator[](std::size_t index) { return threads_[index]; }

  // Those of each thread in their order; no question depends on an answer.
  Result<void> ask(const std::vector<std::vector<GuestQuestion>>& questions);
  Result<void> end();

 private:
  using Questions = std::vector<std::vector<GuestQuestion>>;
  Result<void> ask_by_chains(const Questions& questions);
  Result<void> ask_one_by_one(const Questions& questions);
  std::vector<GuestCalls> threads_;
};

}  // namespace upkeep::engine
