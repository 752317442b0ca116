#include "engine/inspect/task/own_state_calls.h"

#include <signal.h>

#include <deque>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "engine/inspect/calls/guest_calls.h"
#include "engine/inspect/calls/guest_code.h"
#include "engine/inspect/calls/guest_questions.h"
#include "engine/inspect/calls/proc_text.h"
#include "engine/inspect/memory/memory_locks.h"
#include "engine/inspect/memory/protection_keys.h"
#include "engine/inspect/task/keyrings.h"
#include "engine/inspect/task/own_state_questions.h"
#include "os/task_memory.h"

namespace upkeep::engine {
namespace {

using Questions = std::vector<GuestQuestion>;

// Threads that system calls can be run in, with what is asked of them.
struct Asked {
  GuestThread guest;
  Process* process;
  Thread* thread;
  const std::string* status;
  KeyringSerials keyrings;
  bool leads() const { return thread == &process->threads.front(); }
};

// With which a thread may tell itself that it has made its calls; 0: none. If we died it would make those
// that are left without us, which filters may not allow.
int signal_for_chains(const Process& process, const Thread& thread, std::string_view status) {
  if (thread.seccomp.mode != 0 || process.pid_namespace != 0 || process.stopped->stop_signal != 0) return 0;
  const auto caught = number_of(status, "SigCgt", 16);
  if (!caught) return 0;
  for (const int signal : {SIGWINCH, SIGURG, SIGCHLD}) {
    if (((*caught | thread.stopped->signal_mask) >> static_cast<unsigned>(signal - 1) & 1U) == 0)
      return signal;
  }
  return 0;
}

Result<Questions> questions_for(Asked& one, std::vector<Obstacle>& obstacles) {
  return own_state_questions(*one.status, *one.process, *one.thread, one.keyrings, obstacles);
}

// What depends on the answers.
Result<void> ask_further(Asked& one, ThreadCalls& calls, Snapshot& snapshot) {
  auto& [guest, process, thread, status, keyrings] = one;
  if (keyrings.thread > 0 || keyrings.process > 0) TRY(look_for_other_keyrings(calls, *thread, snapshot));
  if (!one.leads()) return {};
  TRY_ASSIGN(process->stopped->locks_future, read_future_locks(calls, *process));
  TRY(read_protection_keys(calls, *process, snapshot.obstacles));
  return read_keyring(calls, keyrings.session, *process, snapshot);
}

Result<void> ask_some(GuestThreads& guests, std::span<Asked> some, Snapshot& snapshot) {
  std::vector<Questions> questions(some.size());
  for (std::size_t i = 0; i < some.size(); ++i) {
    TRY_ASSIGN(questions[i], questions_for(some[i], snapshot.obstacles));
  }
  TRY(guests.ask(questions));
  for (std::size_t i = 0; i < some.size(); ++i) {
    ThreadCalls calls(guests[i]);
    TRY(ask_further(some[i], calls, snapshot));
  }
  return guests.end();
}

Result<void> ask_all(std::span<Asked> asked, Snapshot& snapshot) {
  std::vector<GuestThread> threads;
  for (const auto& one : asked) threads.push_back(one.guest);
  for (std::size_t first = 0; first < asked.size();) {
    TRY_ASSIGN(auto some, GuestThreads::begin(std::span(threads).subspan(first)));
    TRY(ask_some(some, asked.subspan(first, some.size()), snapshot));
    first += some.size();
  }
  return {};
}

// For the few calls that may be left when the rest is known.
class LateGuest {
 public:
  LateGuest(const HeldThread& held, const Process& process, const Thread& thread)
      : held_(held), process_(process), thread_(thread) {}
  Result<GuestCalls*> begin() {
    TRY_ASSIGN(memory_, os::TaskMemory::open(process_.pid));
    TRY_ASSIGN(code_, find_guest_code(process_.pid, process_.memory.mappings, *memory_));
    std::vector<Obstacle> obstacles;
    if (!may_run_calls(process_, thread_, code_, obstacles)) return Err("{}", obstacles.front().why);
    TRY_ASSIGN(auto guest, GuestCalls::begin(held_.tracee, *memory_, code_));
    return &guest_.emplace(std::move(guest));
  }
  Result<void> end() { return guest_ ? guest_->end() : Result<void>(); }

 private:
  const HeldThread& held_;
  const Process& process_;
  const Thread& thread_;
  std::optional<os::TaskMemory> memory_;
  GuestCode code_;
  std::optional<GuestCalls> guest_;
};

// False where not all of it is known: nothing has been taken then.
Result<bool> take_known(const HeldProcess& held, const std::vector<std::string>& statuses,
                        const KnownAnswers& known, Process& process, Snapshot& snapshot) {
  std::vector<Asked> asked;
  for (std::size_t i = 0; i < held.threads.size(); ++i)
    asked.push_back({{}, &process, &process.threads[i], &statuses[i], {}});
  std::vector<Questions> questions;
  std::vector<std::vector<CallAnswer>> answers;
  std::vector<Obstacle> obstacles;
  for (auto& one : asked) {
    TRY_ASSIGN(questions.emplace_back(), questions_for(one, obstacles));
    auto& its = answers.emplace_back();
    for (const auto& question : questions.back()) {
      if (!known.find(one.thread->tid, question.call, its.emplace_back())) return false;
    }
  }
  std::move(obstacles.begin(), obstacles.end(), std::back_inserter(snapshot.obstacles));
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const pid_t tid = asked[i].thread->tid;
    for (std::size_t number = 0; number < answers[i].size(); ++number)
      TRY(take_answer(questions[i][number], tid, GuestAnswer(answers[i][number])));
    LateGuest guest(held.threads[i], process, process.threads[i]);
    ThreadCalls calls(tid, known, [&guest] { return guest.begin(); });
    TRY(ask_further(asked[i], calls, snapshot));
    TRY(guest.end());
  }
  return true;
}

}  // namespace

Result<void> read_by_calls(const StoppedTree& tree, const std::vector<std::vector<std::string>>& statuses,
                           std::size_t many_threads, const KnownAnswers* known, Snapshot& snapshot) {
  constexpr std::size_t kEnough = 64;  // each process takes a descriptor of ours
  std::size_t threads = 0;
  for (const auto& held : tree.processes()) threads += held.threads.size();
  // Where something stands in the way (shadow stacks, rules of a security module) there is no hurry.
  const bool chains = threads >= many_threads && snapshot.obstacles.empty();
  struct Guest {
    os::TaskMemory memory;
    GuestCode code;
  };
  GuestCodeFinder finder;
  std::deque<Guest> guests;
  std::vector<Asked> asked;
  for (std::size_t i = 0; i < tree.processes().size(); ++i) {
    const auto& held = tree.processes()[i];
    auto& process = snapshot.processes[i];
    if (held.zombie) continue;
    if (known != nullptr) {
      TRY_ASSIGN(const bool all_known, take_known(held, statuses[i], *known, process, snapshot));
      if (all_known) continue;
    }
    TRY_ASSIGN(auto memory, os::TaskMemory::open(held.pid));
    auto code = finder.find(held.pid, process.memory.mappings, memory);
    if (!code) {
      snapshot.obstacles.push_back({held.pid, "signal actions and timers", code.error().message(), ""});
      continue;
    }
    if (chains) finder.find_chain(process.memory.mappings, memory, *code);
    const auto& guest = guests.emplace_back(Guest{std::move(memory), *code});
    for (std::size_t number = 0; number < held.threads.size(); ++number) {
      if (!may_run_calls(process, process.threads[number], guest.code, snapshot.obstacles)) continue;
      const auto& thread = process.threads[number];
      const int signal = chains ? signal_for_chains(process, thread, statuses[i][number]) : 0;
      asked.push_back({{&held.threads[number].tracee, &guest.memory, &guest.code, &*thread.stopped, signal},
                       &process,
                       &process.threads[number],
                       &statuses[i][number],
                       {}});
    }
    if (asked.size() < kEnough) continue;
    TRY(ask_all(asked, snapshot));
    asked.clear();
    guests.clear();
  }
  return ask_all(asked, snapshot);
}

}  // namespace upkeep::engine
