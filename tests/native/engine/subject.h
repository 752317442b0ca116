#pragma once
// Tasks made by a test to be carried, watched from outside: a counter at a fixed address that only moves
// while its task runs. No pipe or socket leads to the test, since the engine would have to carry the test as
// well.

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "../folder.h"
#include "os/child.h"
#include "os/file.h"

namespace upkeep::testing {

// RESULT is worked out once, where it is a call too.
template <typename T>
::testing::AssertionResult is_ok(const Result<T>& result) {
  if (result) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << result.error().message();
}
#define ASSERT_OK(result) ASSERT_TRUE(::upkeep::testing::is_ok(result))

// What a subject shows to the test, in its own memory at a fixed place.
struct Board {
  std::atomic<std::uint64_t> counter;
  std::atomic<std::uint64_t> value[8];
};
constexpr std::uintptr_t kBoard = 0x200000000000;

inline Board& board() { return *reinterpret_cast<Board*>(kBoard); }

// Seen from outside; the nothing of a task that is gone is all ones.
inline std::uint64_t peek(pid_t pid, std::size_t word = 0) {
  std::uint64_t value = ~0ULL;
  iovec local = {&value, sizeof value}, remote = {reinterpret_cast<void*>(kBoard + 8 * word), sizeof value};
  ::process_vm_readv(pid, &local, 1, &remote, 1, 0);
  return value;
}

// Written from outside.
inline bool poke(pid_t pid, std::size_t word, std::uint64_t value) {
  iovec local = {&value, sizeof value}, remote = {reinterpret_cast<void*>(kBoard + 8 * word), sizeof value};
  return ::process_vm_writev(pid, &local, 1, &remote, 1, 0) == sizeof value;
}

// How many tests share the processors, more or less: 1, or what $UPKEEP_TEST_CROWD says. All limits are so
// many times as long then, and subjects count so many times as seldom.
inline int crowd() {
  static const int number = [] {
    const char* text = std::getenv("UPKEEP_TEST_CROWD");
    return text == nullptr ? 1 : std::max(1, std::atoi(text));
  }();
  return number;
}

// Between two steps.
inline void rest() { ::poll(nullptr, 0, crowd()); }

// Waits for CONDITION, which is looked at often; false: it never came.
inline bool eventually(const std::function<bool()>& condition,
                       std::chrono::seconds limit = std::chrono::seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + limit * crowd();
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(crowd()));
  }
  return condition();
}

// One that was forked a moment ago has no board yet.
inline bool moves(pid_t pid) {
  auto before = ~0ULL;
  return eventually([&] { return (before = peek(pid)) != ~0ULL; }) &&
         eventually([&] { return peek(pid) != before && peek(pid) != ~0ULL; });
}

// Watched for long enough that a running subject would have counted many times.
inline bool stands_still(pid_t pid) {
  auto before = peek(pid);
  std::this_thread::sleep_for(std::chrono::milliseconds(60 + 5 * crowd()));
  return before != ~0ULL && peek(pid) == before;
}

// In a new process: no descriptor of the test's, and a board of its own.
inline void become_a_subject() {
  ::syscall(SYS_close_range, 0U, ~0U, 0);
  for (int i = 0; i < 3; ++i) (void)::open("/dev/null", O_RDWR);
  ::mmap(reinterpret_cast<void*>(kBoard), 4096, PROT_READ | PROT_WRITE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

// A task in a session of its own, without any descriptor of the test's, that does SETUP and then STEP and
// counts, every millisecond or so.
class Subject {
 public:
  explicit Subject(const std::function<void()>& setup = {}, const std::function<void()>& step = {}) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // what criu restores becomes a child of the test
    pid_ = ::fork();
    if (pid_ != 0) {
      eventually([&] { return peek(pid_) != ~0ULL && peek(pid_) > 0; });
      return;
    }
    ::setsid();
    become_a_subject();
    if (setup) setup();
    for (;;) {
      if (step) step();
      board().counter.fetch_add(1);
      rest();
    }
  }
  Subject(const Subject&) = delete;
  ~Subject() { end(); }
  pid_t pid() const { return pid_; }
  bool alive() const { return ::kill(pid_, 0) == 0; }

  // Ends it and takes its PID out of the way.
  void end() const {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

}  // namespace upkeep::testing
