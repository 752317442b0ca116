#include "engine/inspect/calls/guest_questions.h"

#include <algorithm>
#include <utility>

#include "engine/inspect/calls/call_chain.h"
#include "engine/inspect/calls/guest_code.h"

namespace upkeep::engine {

Result<GuestAnswer> ThreadCalls::call(const GuestCall& call) {
  CallAnswer known;
  if (known_ != nullptr && known_->find(tid_, call, known)) return GuestAnswer(known);
  if (guest_ == nullptr) {
    TRY_ASSIGN(guest_, begin_());
  }
  return guest_->call(call);
}

Result<GuestThreads> GuestThreads::begin(std::span<const GuestThread> threads) {
  constexpr std::size_t kMost = 64;
  GuestThreads group;
  group.threads_.reserve(std::min(threads.size(), kMost));
  const GuestCode* process = nullptr;
  std::uint64_t used = 0;
  for (const auto& one : threads) {
    if (std::exchange(process, one.code) != one.code) used = 0;
    const bool has_room = one.code->room == 0 || used + kGuestRoom <= one.code->room;
    if (group.size() == kMost || !has_room) break;
    TRY_ASSIGN(auto calls, GuestCalls::begin(one, used));
    group.threads_.push_back(std::move(calls));
  }
  return group;
}

Result<void> take_answer(const GuestQuestion& question, pid_t tid, const GuestAnswer& answer) {
  if (answer.returned() < 0 && question.name != nullptr)
    return Err("{} in task {}: {}", question.name, tid, errno_text(static_cast<int>(-answer.returned())));
  return question.take(answer);
}

Result<void> GuestThreads::ask(const Questions& questions) {
  TRY(ask_by_chains(questions));
  return ask_one_by_one(questions);
}

Result<void> GuestThreads::ask_by_chains(const Questions& questions) {
  struct Asked {
    std::size_t thread, first, last;  // of its questions
  };
  std::vector<std::size_t> next(threads_.size(), 0);
  for (;;) {
    std::vector<Asked> asked;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const auto& its = questions.at(i);
      if (!threads_[i].makes_chains() || next[i] == its.size()) continue;
      std::vector<GuestCall> calls;
      const auto first = next[i];
      for (; next[i] < its.size() && calls.size() < CallChain::kMost; ++next[i]) {
        if (!fit_together(its[first].call, its[next[i]].call)) break;
        calls.push_back(its[next[i]].call);
      }
      TRY(threads_[i].begin_chain(calls));
      asked.push_back({i, first, next[i]});
    }
    if (asked.empty()) return {};
    for (const auto& [thread, first, last] : asked) {
      auto& guest = threads_[thread];
      TRY_ASSIGN(const auto answers, guest.end_chain(last - first));
      for (auto number = first; number < last; ++number) {
        const auto& [returned, written] = answers[number - first];
        TRY(take_answer(questions[thread][number], guest.thread_->tid(),
                        GuestAnswer(CallAnswer{returned, written})));
      }
    }
  }
}

Result<void> GuestThreads::ask_one_by_one(const Questions& questions) {
  std::vector<std::size_t> asked;
  for (std::size_t number = 0;; ++number) {
    asked.clear();
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (!threads_[i].makes_chains() && number < questions.at(i).size()) asked.push_back(i);
    }
    if (asked.empty()) return {};
    for (const auto i : asked) TRY(threads_[i].begin_call(questions[i][number].call));
    for (const auto i : asked) TRY(threads_[i].go_on_to_its_end());
    for (const auto i : asked) {
      auto& guest = threads_[i];
      TRY_ASSIGN(const long returned, guest.end_call());
      TRY(take_answer(questions[i][number], guest.thread_->tid(),
                      GuestAnswer(returned, *guest.memory_, guest.scratch_)));
    }
  }
}

Result<void> GuestThreads::end() {
  for (auto& thread : threads_) TRY(thread.go_to_rest());
  for (auto& thread : threads_) TRY(thread.end_at_rest());
  return {};
}

}  // namespace upkeep::engine
