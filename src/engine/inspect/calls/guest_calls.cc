#include "engine/inspect/calls/guest_calls.h"

#include <errno.h>

#include <chrono>
#include <utility>

#include "engine/inspect/calls/signal_frame.h"

namespace upkeep::engine {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kDirectionFlag = 0x400;

}  // namespace

Result<GuestCalls> GuestCalls::begin(const os::Tracee& thread, const os::TaskMemory& memory,
                                     const GuestCode& code) {
  std::uint64_t used = 0;
  return begin({&thread, &memory, &code}, used);
}

Result<GuestCalls> GuestCalls::begin(const GuestThread& one, std::uint64_t& used) {
  const auto& [its_thread, its_memory, its_code, stopped, signal] = one;
  const auto& thread = *its_thread;
  const auto& memory = *its_memory;
  const auto& code = *its_code;
  GuestCalls calls(thread, memory);
  TRY_ASSIGN(calls.before_, thread.registers());
  std::vector<std::uint8_t> read;
  if (stopped == nullptr) {
    TRY_ASSIGN(calls.mask_, thread.signal_mask());
    TRY_ASSIGN(read, thread.xstate());
  } else {
    calls.mask_ = stopped->signal_mask;
  }
  const auto& xstate = stopped != nullptr ? stopped->registers.xstate.data : read;
  calls.own_page_ = code.room != 0;
  if (calls.own_page_ && code.chain.complete()) calls.signal_ = signal;
  calls.chain_ = code.chain;
  const std::uint64_t below = kGuestScratch + (calls.makes_chains() ? CallChain::kRoom : 0);
  const std::uint64_t bottom = calls.own_page_
                                   ? code.frames + used
                                   : (calls.before_.rsp - kRedZone - kGuestRoom) & ~(kGuestAlignment - 1);
  calls.scratch_ = bottom;
  calls.frame_ = bottom + below;
  const auto frame = build_signal_frame(calls.frame_, code.sigreturn, calls.before_, calls.mask_, xstate);
  if (frame.size() > kSignalFrameRoom) return Err("this processor's registers do not fit into a frame");
  calls.written_ = below + frame.size();
  used += (calls.written_ + kGuestAlignment - 1) & ~(kGuestAlignment - 1);
  TRY(memory.write(calls.frame_, std::as_bytes(std::span(frame))));

  calls.inside_ = calls.before_;
  calls.inside_.rip = code.system_call;
  calls.inside_.rsp = calls.frame_;
  calls.inside_.rax = 39;  // getpid: if we die at once, this is what it does
  calls.inside_.orig_rax = ~0ULL;
  calls.inside_.eflags &= ~(kDirectionFlag | kTrapFlag);
  // Registers before the mask here, and after it at the end: in between the frame gives the mask back.
  calls.active_ = true;
  TRY(thread.set_registers(calls.inside_));
  TRY(thread.set_signal_mask(calls.makes_chains() ? ~(1ULL << static_cast<unsigned>(signal - 1)) : ~0ULL));
  return calls;
}

GuestCalls::GuestCalls(GuestCalls&& other) noexcept
    : thread_(other.thread_),
      memory_(other.memory_),
      active_(std::exchange(other.active_, false)),
      own_page_(other.own_page_),
      frame_(other.frame_),
      scratch_(other.scratch_),
      written_(other.written_),
      signal_(other.signal_),
      chain_(other.chain_),
      chain_address_(other.chain_address_),
      at_signal_(other.at_signal_),
      before_(other.before_),
      inside_(other.inside_),
      mask_(other.mask_) {}

GuestCalls::~GuestCalls() { (void)end(); }

Result<os::Stop> GuestCalls::next_stop() {
  TRY_ASSIGN(const auto stop, thread_->wait(seconds(10)));
  if (stop.kind != os::Stop::Kind::ended) return stop;
  active_ = false;
  return tl::unexpected(Error("the task ended while it was being read", ESRCH));
}

Result<void> GuestCalls::await_system_call() {
  for (;;) {
    TRY_ASSIGN(const auto stop, next_stop());
    if (stop.kind == os::Stop::Kind::system_call) return {};
    // Only what nobody can block, and what does nothing.
    if (stop.kind == os::Stop::Kind::signal_delivery && stop.signal != signal_)
      return Err("signal {} came while a system call was run in the task", stop.signal);
    TRY(thread_->resume_to_system_call());
  }
}

Result<void> GuestCalls::begin_call(const GuestCall& call) {
  auto registers = inside_;
  registers.rax = static_cast<unsigned long long>(call.number);
  auto argument = [&](std::size_t number) {
    return call.arguments[number] == kAnswerPlace ? scratch_ : call.arguments[number];
  };
  registers.rdi = argument(0);
  registers.rsi = argument(1);
  registers.rdx = argument(2);
  registers.r10 = argument(3);
  registers.r8 = argument(4);
  registers.r9 = argument(5);
  TRY(thread_->set_registers(registers));
  at_signal_ = false;
  return thread_->resume_to_system_call();
}

Result<void> GuestCalls::go_on_to_its_end() {
  TRY(await_system_call());
  return thread_->resume_to_system_call();
}

Result<long> GuestCalls::end_call() {
  TRY(await_system_call());
  TRY_ASSIGN(const auto after, thread_->registers());
  return static_cast<long>(after.rax);
}

Result<GuestAnswer> GuestCalls::call(const GuestCall& call) {
  TRY(begin_call(call));
  TRY(go_on_to_its_end());
  TRY_ASSIGN(const auto returned, end_call());
  return GuestAnswer(returned, *memory_, scratch_);
}

Result<void> GuestCalls::begin_chain(std::span<const GuestCall> calls) {
  const CallChain chain(chain_, inside_.rip, calls, frame_, thread_->tid(), signal_);
  TRY(memory_->write(chain.address(), std::as_bytes(chain.words())));
  auto registers = inside_;
  registers.rip = chain_.pop_rax;
  registers.rsp = chain.stack();
  registers.r10 = calls.front().arguments[3];
  registers.r8 = calls.front().arguments[4];
  registers.r9 = calls.front().arguments[5];
  chain_address_ = chain.address();
  TRY(thread_->set_registers(registers));
  at_signal_ = false;
  return thread_->resume();
}

Result<void> GuestCalls::await_end_of_chain() {
  for (;;) {
    TRY_ASSIGN(const auto stop, next_stop());
    if (stop.kind == os::Stop::Kind::signal_delivery) {
      if (stop.signal != signal_)
        return Err("signal {} came while system calls were run in the task", stop.signal);
      TRY_ASSIGN(const auto registers, thread_->registers());
      at_signal_ = registers.rsp == frame_;
      if (at_signal_) return {};  // else it was somebody else's, and does nothing
    }
    TRY(thread_->resume());
  }
}

Result<std::vector<CallChain::Answer>> GuestCalls::end_chain(std::size_t count) {
  TRY(await_end_of_chain());
  std::vector<CallChain::Answer> answers(count);
  TRY(memory_->read(chain_address_, std::as_writable_bytes(std::span(answers))));
  return answers;
}

// Out of the system call's exit into a stop at which the kernel looks at interrupted system calls afterwards:
// what the thread was interrupted in before is then taken up again.
Result<void> GuestCalls::go_to_rest() {
  if (at_signal_) return {};  // such a stop already
  TRY(thread_->interrupt());
  TRY(thread_->set_registers(inside_));
  return thread_->resume();
}

Result<void> GuestCalls::end_at_rest() {
  if (!at_signal_) {
    TRY_ASSIGN(const auto stop, next_stop());
    if (!stop.was_interrupted()) return Err("the task stopped for another reason than was asked");
  }
  TRY(thread_->set_signal_mask(mask_));
  TRY(thread_->set_registers(before_));
  active_ = false;
  if (!own_page_) return {};
  const std::vector<std::byte> zeros(written_);
  return memory_->write(scratch_, zeros);
}

Result<void> GuestCalls::end() {
  if (!active_) return {};
  TRY(go_to_rest());
  return end_at_rest();
}

}  // namespace upkeep::engine
