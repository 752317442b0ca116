#pragma once
// Questions to stopped threads, each a system call that only asks (guest_calls.h): to one thread, where some
// answers may be known already, or to many at once.

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/guest_calls.h"
#include "engine/tree/answers.h"

namespace upkeep::engine {

// A call, and what becomes of its answer.
struct GuestQuestion {
  const char* name;  // nullptr: it may fail
  GuestCall call;
  std::function<Result<void>(const GuestAnswer& answer)> take;
};
// Takes the answer to a question that only the thread can answer.
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
// answer is waited for: no wait is for one stop of many, and most of the time that a stop takes
// is waiting.
class GuestThreads {
 public:
  // As many of THREADS, from the first one on, as there is room for; one at least. Those of one process
  // follow each other.
  static Result<GuestThreads> begin(std::span<const GuestThread> threads);
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
