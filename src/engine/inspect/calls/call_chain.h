#pragma once
// System calls that a thread makes one after the other without a stop in between: each of them by itself
// takes two stops and half a dozen calls of ours, and threads that are asked a dozen things are many.
//
// Nothing is brought along for it. The C library holds instructions like `pop %rdi; ret`, of which a list of
// their addresses, with the values to pop, makes a program when it lies where the stack pointer points. Its
// last entries are the thread's signal frame (signal_frame.h): if this process dies in the middle, the thread
// makes the calls that are left, which only ask, and returns into the frame as it does after a single one.

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "engine/tree/answers.h"

namespace upkeep::engine {

// Where a process has these instructions, each with a `ret` behind it; 0: nowhere.
struct ChainCode {
  std::uint64_t pop_rax = 0, pop_rdi = 0, pop_rsi = 0;
  std::uint64_t store = 0;        // mov %rax, (%rbx); pop %rbx
  std::uint64_t pop_rdx_rbx = 0;  // pop %rdx; pop %rbx
  bool complete() const {
    return pop_rax != 0 && pop_rdi != 0 && pop_rsi != 0 && pop_rdx_rbx != 0 && store != 0;
  }
};

// What is written below a thread's signal frame, and what becomes of it.
class CallChain {
 public:
  // What a call returned, and what it has written to memory.
  struct Answer {
    long returned;
    std::array<std::byte, 32> written;
  };
  // As many calls as one chain makes at most, and the memory that such a one takes.
  static constexpr std::size_t kMost = 16;
  static constexpr std::uint64_t kRoom = 2560;

  // Ends at FRAME with a call that wakes us: SIGNAL, sent to the thread by itself. CALLS differ in the first
  // three arguments alone.
  CallChain(const ChainCode& code, std::uint64_t system_call, std::span<const GuestCall> calls,
            std::uint64_t frame, pid_t tid, int signal);

  std::uint64_t address() const { return address_; }
  std::span<const std::uint64_t> words() const { return words_; }
  // Where the stack pointer is at the beginning; the instruction pointer is at pop_rax then.
  std::uint64_t stack() const { return stack_; }

 private:
  std::uint64_t address_, stack_;
  std::vector<std::uint64_t> words_;
};

// Whether one chain can make both: the fourth argument and those behind it stay as they are from the first
// call to the last.
bool fit_together(const GuestCall& one, const GuestCall& other);

// What of CODE, a mapping's bytes that lie at ADDRESS, is looked for and not known yet.
void search_chain_code(std::string_view code, std::uint64_t address, ChainCode& found);

}  // namespace upkeep::engine
