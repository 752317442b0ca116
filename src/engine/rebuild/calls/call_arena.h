#pragma once
// Where new tasks make the system calls of their programs: a stretch of memory that none of them has in use,
// shared with us. Its first page is a loop of some dozen instructions, which needs neither stack nor libc;
// behind it lies the program. When a program is through, the task says so in that memory and waits to be
// stopped.

#include <sys/user.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"
#include "os/fd.h"
#include "os/ptrace.h"

namespace upkeep::engine {

class CallArena {
 public:
  // SIZE bytes at ADDRESS in every task; our own view of it lies elsewhere.
  static Result<CallArena> make(std::uint64_t address, std::uint64_t size);
  CallArena(CallArena&& other) noexcept;
  CallArena& operator=(CallArena&&) = delete;
  ~CallArena();

  std::uint64_t address() const { return address_; }
  std::uint64_t size() const { return size_; }
  // A `syscall` instruction, for calls that are made one by one.
  std::uint64_t system_call() const;

  // In a forked child of ours: maps the arena into it and waits there for the first program. Never
  // returns; nothing of libc is called that could take a lock.
  [[noreturn]] void wait_for_program() const;

  // Runs PROGRAM in a stopped task, which stands stopped again afterwards. Tasks that it makes are given to
  // ON_NEW_TASK, stopped before their first instruction. The error names the call that failed.
  using NewTask = std::function<Result<void>(os::Tracee task)>;
  Result<void> run(const os::Tracee& task, const Program& program, const NewTask& on_new_task = {});
  // The same in two parts, between which the program runs. Nothing else runs here until end(). TASK and
  // PROGRAM stay where they are.
  struct Running {
    const os::Tracee* task;
    const Program* program;
    std::uint64_t at;  // where in this memory it lies
  };
  Result<Running> begin(const os::Tracee& task, const Program& program);
  Result<void> end(const Running& running, const NewTask& on_new_task = {});
  // The same as run() where the task ends with the program.
  Result<void> run_to_end(os::Tracee& task, const Program& program, const NewTask& on_new_task = {});

  // A program that makes tasks, and ends its own with it: what comes behind the last birth is not waited for.
  // It lies at the end of the arena, where nothing else may reach until the task has ended.
  Result<Running> begin_births(const os::Tracee& task, const Program& program);
  Result<void> end_births(const Running& running, const NewTask& on_new_task);

  // Programs in stopped tasks, all beside each other, in an order that nobody knows. None makes new tasks.
  // Little of the time that it takes to start and stop a task is work: this way it passes once. Each begins
  // when it is added, so that it runs while the next one is compiled.
  struct Job {
    const os::Tracee* task = nullptr;
    Program program;
    // Called with what the program has left in its memory (Program::placed()) when it is through.
    std::function<void(const Program& program, std::span<const std::byte> placed)> when_through = {};
  };
  Result<void> add(Job job);
  Result<void> finish_all();  // of those that were added
  Result<void> run_all(std::vector<Job> jobs);
  // One that may make tasks.
  Result<void> run(const Job& job, const NewTask& on_new_task);

  // What the call with this number answered in the program that was run last, by run().
  std::int64_t result(std::size_t call) const;

  // Puts bytes where tasks see them, at the returned address, until the next program is run.
  Result<std::uint64_t> lay_out(std::span<const std::byte> bytes);

 private:
  CallArena(std::uint64_t address, std::uint64_t size) : address_(address), size_(size) {}
  Result<void> put(std::uint64_t at, std::span<const std::byte> bytes);
  Result<Running> start(const os::Tracee& task, const Program& program, std::uint64_t at);
  enum class Until { end, last_birth };
  Result<bool> attend(const Running& running, const NewTask& on_new_task, Until until = Until::end);
  Result<void> come_to_stop(const Running& running) const;
  Result<void> take_new_task(const os::Tracee& maker, const NewTask& on_new_task);
  std::uint64_t address_, size_;
  os::UniqueFd memory_;
  std::byte* view_ = nullptr;
  std::optional<user_regs_struct> usual_;  // what a program needs of them is the same in all tasks
  bool may_be_killed_ = false;             // signals are delivered to the task
  struct Begun {
    Job job;
    Running running = {};
  };
  std::deque<Begun> begun_;
  std::uint64_t free_from_ = 0;  // behind them
};

// What a call of the program that was placed there has answered.
std::int64_t result_of(std::span<const std::byte> placed, std::size_t call);

// A place of SIZE bytes that no mapping of SNAPSHOT's and none of our own covers.
Result<std::uint64_t> find_arena_place(const Snapshot& snapshot, std::uint64_t size);

}  // namespace upkeep::engine
