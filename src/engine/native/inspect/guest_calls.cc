#include "engine/native/inspect/guest_calls.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "engine/native/inspect/signal_frame.h"
#include "engine/native/model/snapshot.h"
#include "os/file.h"

namespace upkeep::native {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kRedZone = 128, kScratch = 512;
constexpr std::uint64_t kRoom = kSignalFrameRoom + kScratch;
constexpr std::uint64_t kDirectionFlag = 0x400, kTrapFlag = 0x100;

constexpr std::string_view kSystemCallReturn("\x0f\x05\xc3", 3);
// mov $15, %rax; syscall (glibc, Go), mov $15, %eax; syscall (musl)
constexpr std::string_view kSigreturnWide("\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05", 9);
constexpr std::string_view kSigreturnShort("\xb8\x0f\x00\x00\x00\x0f\x05", 7);

void search(std::string_view code, std::uint64_t at, GuestCode& found) {
  auto look = [&](std::string_view wanted, std::uint64_t& into) {
    const auto position = code.find(wanted);
    if (into == 0 && position != std::string_view::npos) into = at + position;
  };
  look(kSystemCallReturn, found.system_call);
  look(kSigreturnWide, found.sigreturn);
  look(kSigreturnShort, found.sigreturn);
}

void search_mapping(const Mapping& mapping, const os::TaskMemory& memory, GuestCode& found) {
  constexpr std::uint64_t kPiece = 1U << 20U, kOverlap = 16;
  std::string piece;
  for (std::uint64_t at = mapping.start; at < mapping.end; at += kPiece) {
    piece.resize(std::min(mapping.end - at, kPiece + kOverlap));
    if (!memory.read(at, std::as_writable_bytes(std::span(piece)))) return;
    search(piece, at, found);
    if (found.system_call != 0 && found.sigreturn != 0) return;
  }
}

// The C library first: it is where both are in nearly every program.
bool likely(const Mapping& mapping) {
  return mapping.name.find("/libc.so") != std::string::npos ||
         mapping.name.find("/libc-") != std::string::npos ||
         mapping.name.find("/ld-musl") != std::string::npos;
}

// Pages at the lower end of the main stack that were never touched (the kernel maps more than it uses).
std::uint64_t untouched_stack(pid_t pid, const std::vector<Mapping>& mappings) {
  const auto stack =
      std::find_if(mappings.begin(), mappings.end(), [](const auto& m) { return m.name == "[stack]"; });
  constexpr std::uint64_t kPages = (kRoom + kPage - 1) / kPage + 1;  // one stays untouched in between
  if (stack == mappings.end() || stack->length() < (kPages + 1) * kPage || !stack->write) return 0;
  auto pagemap = os::open_file(fmt::format("/proc/{}/pagemap", pid), O_RDONLY);
  std::array<std::uint64_t, kPages> entries = {};
  if (!pagemap || !os::pread_all(*pagemap, std::as_writable_bytes(std::span(entries)),
                                 static_cast<off_t>(stack->start / kPage * sizeof(std::uint64_t))))
    return 0;
  constexpr std::uint64_t kPresentOrSwapped = 3ULL << 62U;
  for (auto entry : entries) {
    if ((entry & kPresentOrSwapped) != 0) return 0;
  }
  return stack->start;
}

}  // namespace

Result<GuestCode> find_guest_code(pid_t pid, const std::vector<Mapping>& mappings,
                                  const os::TaskMemory& memory) {
  GuestCode found;
  for (const bool first_choice : {true, false}) {
    for (const auto& mapping : mappings) {
      if (!mapping.execute || !mapping.read || mapping.kind != "file" || likely(mapping) != first_choice)
        continue;
      search_mapping(mapping, memory, found);
      if (found.system_call != 0 && found.sigreturn != 0) {
        found.frame = untouched_stack(pid, mappings);
        return found;
      }
    }
  }
  return Err("the program has no code of its own with which a system call can be made and returned from");
}

Result<GuestCalls> GuestCalls::begin(const os::Tracee& thread, const os::TaskMemory& memory,
                                     const GuestCode& code) {
  GuestCalls calls(thread, memory);
  TRY_ASSIGN(calls.before_, thread.registers());
  TRY_ASSIGN(calls.mask_, thread.signal_mask());
  TRY_ASSIGN(const auto xstate, thread.xstate());
  calls.own_page_ = code.frame != 0;
  const std::uint64_t bottom =
      calls.own_page_ ? code.frame : (calls.before_.rsp - kRedZone - kRoom) & ~std::uint64_t{63};
  calls.scratch_ = bottom;
  calls.frame_ = bottom + kScratch;
  const auto frame = build_signal_frame(calls.frame_, code.sigreturn, calls.before_, calls.mask_, xstate);
  if (frame.size() > kSignalFrameRoom) return Err("this processor's registers do not fit into a frame");
  calls.written_ = frame.size();
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
  TRY(thread.set_signal_mask(~0ULL));
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
      before_(other.before_),
      inside_(other.inside_),
      mask_(other.mask_) {}

GuestCalls::~GuestCalls() { (void)end(); }

Result<void> GuestCalls::await_system_call() {
  for (;;) {
    TRY(thread_->resume_to_system_call());
    TRY_ASSIGN(const auto stop, thread_->wait(seconds(10)));
    if (stop.kind == os::Stop::Kind::ended) {
      active_ = false;
      return tl::unexpected(Error("the task ended while it was being read", ESRCH));
    }
    if (stop.kind == os::Stop::Kind::system_call) return {};
    if (stop.kind == os::Stop::Kind::signal_delivery)  // only what nobody can block
      return Err("signal {} came while a system call was run in the task", stop.signal);
  }
}

Result<long> GuestCalls::call(long number, std::array<std::uint64_t, 6> arguments) {
  auto registers = inside_;
  registers.rax = static_cast<unsigned long long>(number);
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
  registers.r10 = arguments[3];
  registers.r8 = arguments[4];
  registers.r9 = arguments[5];
  TRY(thread_->set_registers(registers));
  TRY(await_system_call());  // entry
  TRY(await_system_call());  // exit
  TRY_ASSIGN(const auto after, thread_->registers());
  return static_cast<long>(after.rax);
}

// Out of the system call's exit into a stop at which the kernel looks at interrupted system calls afterwards:
// what the thread was interrupted in before is then taken up again.
Result<void> GuestCalls::come_to_rest() {
  TRY(thread_->interrupt());
  TRY(thread_->set_registers(inside_));
  TRY(thread_->resume());
  TRY_ASSIGN(const auto stop, thread_->wait(seconds(10)));
  if (stop.kind == os::Stop::Kind::ended) {
    active_ = false;
    return tl::unexpected(Error("the task ended while it was being read", ESRCH));
  }
  if (stop.was_interrupted()) return {};
  return Err("the task stopped for another reason than was asked");
}

Result<void> GuestCalls::end() {
  if (!active_) return {};
  TRY(come_to_rest());
  TRY(thread_->set_signal_mask(mask_));
  TRY(thread_->set_registers(before_));
  active_ = false;
  const std::vector<std::byte> zeros(own_page_ ? kScratch + written_ : 0);
  return memory_->write(scratch_, zeros);
}

}  // namespace upkeep::native
