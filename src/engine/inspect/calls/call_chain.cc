#include "engine/inspect/calls/call_chain.h"

#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

namespace upkeep::engine {
namespace {

constexpr std::size_t kWordsOfAnswer = sizeof(CallChain::Answer) / sizeof(std::uint64_t);
constexpr std::size_t kWordsOfCall = 12, kWordsOfEnd = 7;
static_assert(sizeof(CallChain::Answer) == kWordsOfAnswer * sizeof(std::uint64_t));
static_assert((CallChain::kMost * (kWordsOfAnswer + kWordsOfCall) + kWordsOfEnd) * sizeof(std::uint64_t) <=
              CallChain::kRoom);

void look_for(std::string_view code, std::string_view wanted, std::uint64_t address, std::uint64_t& into) {
  if (into != 0) return;
  const void* found = ::memmem(code.data(), code.size(), wanted.data(), wanted.size());
  if (found != nullptr)
    into = address + static_cast<std::uint64_t>(static_cast<const char*>(found) - code.data());
}

}  // namespace

CallChain::CallChain(const ChainCode& code, std::uint64_t system_call, std::span<const GuestCall> calls,
                     std::uint64_t frame, pid_t tid, int signal) {
  const auto answers = calls.size() * kWordsOfAnswer;
  const auto all = answers + calls.size() * kWordsOfCall + kWordsOfEnd;
  address_ = frame - all * sizeof(std::uint64_t);
  words_.reserve(all);
  words_.resize(answers);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const auto answer = address_ + i * sizeof(Answer);
    auto argument = [&](std::size_t number) {
      const auto value = calls[i].arguments[number];
      return value == kAnswerPlace ? answer + offsetof(Answer, written) : value;
    };
    words_.insert(words_.end(), {code.pop_rax, static_cast<std::uint64_t>(calls[i].number), code.pop_rdi,
                                 argument(0), code.pop_rsi, argument(1), code.pop_rdx_rbx, argument(2),
                                 answer, system_call, code.store, 0});
  }
  words_.insert(words_.end(), {code.pop_rax, static_cast<std::uint64_t>(SYS_tkill), code.pop_rdi,
                               static_cast<std::uint64_t>(tid), code.pop_rsi,
                               static_cast<std::uint64_t>(signal), system_call});
  stack_ = address_ + (answers + 1) * sizeof(std::uint64_t);
}

bool fit_together(const GuestCall& one, const GuestCall& other) {
  return std::equal(one.arguments.begin() + 3, one.arguments.end(), other.arguments.begin() + 3);
}

void search_chain_code(std::string_view code, std::uint64_t address, ChainCode& found) {
  look_for(code, "\x58\xc3", address, found.pop_rax);
  look_for(code, "\x5f\xc3", address, found.pop_rdi);
  look_for(code, "\x5e\xc3", address, found.pop_rsi);
  look_for(code, "\x5a\x5b\xc3", address, found.pop_rdx_rbx);
  look_for(code, "\x48\x89\x03\x5b\xc3", address, found.store);
}

}  // namespace upkeep::engine
