#include "os/ptrace.h"

#include <elf.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "os/child_events.h"
#include "os/uapi_supplement.h"

namespace upkeep::os {
namespace {

constexpr std::size_t kSignalSetSize = 8;  // the kernel's, not libc's
constexpr int kEventStop = 128;            // PTRACE_EVENT_STOP

template <typename Address, typename Data>
long call(int request, pid_t tid, Address address, Data data) {
  return ::ptrace(static_cast<__ptrace_request>(request), tid, address, data);
}

template <typename Address, typename Data>
Result<void> checked(const char* what, int request, pid_t tid, Address address, Data data) {
  if (call(request, tid, address, data) < 0) return ErrnoErr("{} {}", what, tid);
  return {};
}

Stop decode(int status) {
  Stop stop;
  stop.status = status;
  if (!WIFSTOPPED(status)) return stop;
  stop.signal = WSTOPSIG(status);
  const int event = status >> 16;
  if (event == kEventStop) {
    stop.kind = stop.signal == SIGTRAP ? Stop::Kind::event_stop : Stop::Kind::group_stop;
  } else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
    stop.kind = Stop::Kind::new_task;
  } else if (stop.signal == (SIGTRAP | 0x80)) {
    stop.kind = Stop::Kind::system_call;
  } else {
    stop.kind = Stop::Kind::signal_delivery;
  }
  return stop;
}

}  // namespace

Result<Tracee> Tracee::seize(pid_t tid, unsigned long options) {
  TRY(checked("PTRACE_SEIZE", PTRACE_SEIZE, tid, 0, options | PTRACE_O_TRACESYSGOOD));
  return Tracee(tid);
}

Tracee& Tracee::operator=(Tracee&& other) noexcept {
  if (this != &other) {
    let_go();
    tid_ = std::exchange(other.tid_, 0);
    registers_ = std::exchange(other.registers_, std::nullopt);
  }
  return *this;
}

Tracee::~Tracee() { let_go(); }

// Detaching works from a stop only. One that does not come to a stop in time is let go when this process
// ends.
void Tracee::let_go() {
  if (tid_ == 0) return;
  int signal = 0;
  for (int tries = 0; call(PTRACE_DETACH, tid_, 0, signal) < 0 && errno == ESRCH && tries < 3; ++tries) {
    if (call(PTRACE_INTERRUPT, tid_, 0, 0) < 0) break;
    auto stop = wait(std::chrono::milliseconds(100));
    if (!stop || stop->kind == Stop::Kind::ended) break;
    signal = stop->kind == Stop::Kind::signal_delivery ? stop->signal : 0;
  }
  tid_ = 0;
}

Result<void> Tracee::interrupt() const { return checked("PTRACE_INTERRUPT", PTRACE_INTERRUPT, tid_, 0, 0); }

Result<bool> Tracee::poll(Stop& stop) const {
  int status = 0;
  const pid_t got = ::waitpid(tid_, &status, __WALL | WNOHANG);
  if (got < 0 && errno == ECHILD) {  // execve(2) of another thread, or reaped by somebody
    stop = Stop{};
    return true;
  }
  if (got < 0) return ErrnoErr("waitpid {}", tid_);
  if (got == 0) return false;
  stop = decode(status);
  return true;
}

Result<void> Tracee::wait_first_stop() const {
  TRY_ASSIGN(const auto stop, wait(std::chrono::seconds(10)));
  if (stop.kind != Stop::Kind::event_stop) return Err("new task {} did not stop", tid_);
  return {};
}

Result<Stop> Tracee::wait(std::chrono::milliseconds timeout) const {
  using Clock = std::chrono::steady_clock;
  constexpr Clock::duration kLookAgain = std::chrono::milliseconds(5);
  Stop stop;
  TRY_ASSIGN(const bool happened_already, poll(stop));  // as it has where several are waited for in turn
  if (happened_already) return stop;
  const auto end = Clock::now() + timeout;
  const ChildEvents events;
  for (;;) {
    TRY_ASSIGN(const bool happened, poll(stop));
    if (happened) return stop;
    const auto now = Clock::now();
    if (now > end) return tl::unexpected(Error(fmt::format("thread {} does not stop", tid_), ETIMEDOUT));
    events.wait(std::min(kLookAgain, end - now));
  }
}

Result<void> Tracee::resume(int signal) const {
  registers_.reset();
  return checked("PTRACE_CONT", PTRACE_CONT, tid_, 0, signal);
}
Result<void> Tracee::resume_to_system_call() const {
  registers_.reset();
  return checked("PTRACE_SYSCALL", PTRACE_SYSCALL, tid_, 0, 0);
}

Result<void> Tracee::detach(int signal) {
  const pid_t tid = std::exchange(tid_, 0);
  return checked("PTRACE_DETACH", PTRACE_DETACH, tid, 0, signal);
}

Result<user_regs_struct> Tracee::registers() const {
  if (registers_) return *registers_;
  user_regs_struct registers = {};
  iovec area = {&registers, sizeof registers};
  TRY(checked("PTRACE_GETREGSET", PTRACE_GETREGSET, tid_, NT_PRSTATUS, &area));
  if (area.iov_len != sizeof registers) return Err("thread {} runs 32-bit code", tid_);
  registers_ = registers;
  return registers;
}

Result<void> Tracee::set_registers(const user_regs_struct& registers) const {
  registers_.reset();  // the kernel does not take every bit of them
  user_regs_struct copy = registers;
  iovec area = {&copy, sizeof copy};
  return checked("PTRACE_SETREGSET", PTRACE_SETREGSET, tid_, NT_PRSTATUS, &area);
}

Result<std::vector<std::uint8_t>> Tracee::xstate() const {
  std::array<std::uint8_t, 16384> bytes;  // with AMX it is 11 kB
  iovec area = {bytes.data(), bytes.size()};
  TRY(checked("PTRACE_GETREGSET", PTRACE_GETREGSET, tid_, NT_X86_XSTATE, &area));
  return std::vector<std::uint8_t>(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(area.iov_len));
}

Result<void> Tracee::set_xstate(const std::vector<std::uint8_t>& xstate) const {
  auto copy = xstate;
  iovec area = {copy.data(), copy.size()};
  return checked("PTRACE_SETREGSET", PTRACE_SETREGSET, tid_, NT_X86_XSTATE, &area);
}

Result<std::uint64_t> Tracee::signal_mask() const {
  std::uint64_t mask = 0;
  TRY(checked("PTRACE_GETSIGMASK", PTRACE_GETSIGMASK, tid_, kSignalSetSize, &mask));
  return mask;
}

Result<void> Tracee::set_signal_mask(std::uint64_t mask) const {
  return checked("PTRACE_SETSIGMASK", PTRACE_SETSIGMASK, tid_, kSignalSetSize, &mask);
}

Result<std::vector<std::vector<std::uint8_t>>> Tracee::pending_signals(bool shared) const {
  std::vector<std::vector<std::uint8_t>> all;
  for (;;) {
    std::array<siginfo_t, 16> some = {};
    __ptrace_peeksiginfo_args arguments = {all.size(), shared ? std::uint32_t{PTRACE_PEEKSIGINFO_SHARED} : 0U,
                                           static_cast<std::int32_t>(some.size())};
    const long count = call(PTRACE_PEEKSIGINFO, tid_, &arguments, some.data());
    if (count < 0) return ErrnoErr("PTRACE_PEEKSIGINFO {}", tid_);
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      std::vector<std::uint8_t> bytes(sizeof(siginfo_t));
      std::memcpy(bytes.data(), &some[i], sizeof(siginfo_t));
      all.push_back(std::move(bytes));
    }
    if (count < static_cast<long>(some.size())) return all;
  }
}

Result<RseqConfiguration> Tracee::rseq() const {
  RseqConfiguration configuration;
  TRY(checked("PTRACE_GET_RSEQ_CONFIGURATION", kPtraceGetRseqConfiguration, tid_, sizeof configuration,
              &configuration));
  return configuration;
}

Result<unsigned long> Tracee::event_message() const {
  unsigned long message = 0;
  TRY(checked("PTRACE_GETEVENTMSG", PTRACE_GETEVENTMSG, tid_, 0, &message));
  return message;
}

Result<int> Tracee::stop_signal() const {
  siginfo_t info = {};
  TRY(checked("PTRACE_GETSIGINFO", PTRACE_GETSIGINFO, tid_, 0, &info));
  return info.si_code >> 8 == kEventStop && info.si_signo != SIGTRAP ? info.si_signo : 0;
}

bool Tracee::dispatches_system_calls() const {
  struct {
    std::uint64_t mode, selector, offset, length;
  } configuration = {};  // struct ptrace_sud_config of linux/ptrace.h
  return call(kPtraceGetSyscallUserDispatch, tid_, sizeof configuration, &configuration) == 0 &&
         configuration.mode != 0;
}

Result<void> Tracee::set_options(unsigned long options) const {
  return checked("PTRACE_SETOPTIONS", PTRACE_SETOPTIONS, tid_, 0, options | PTRACE_O_TRACESYSGOOD);
}

Result<std::vector<std::uint8_t>> Tracee::seccomp_filter(std::uint64_t number) const {
  constexpr std::size_t kInstruction = 8, kMost = 4096;  // struct sock_filter, BPF_MAXINSNS
  std::vector<std::uint8_t> bytes(kInstruction * kMost);
  const long count = call(PTRACE_SECCOMP_GET_FILTER, tid_, number, bytes.data());
  if (count < 0) return ErrnoErr("PTRACE_SECCOMP_GET_FILTER {}", tid_);
  bytes.resize(static_cast<std::size_t>(count) * kInstruction);
  return bytes;
}

Result<std::uint64_t> Tracee::seccomp_flags(std::uint64_t number) const {
  struct {
    std::uint64_t number, flags;
  } metadata = {number, 0};  // struct seccomp_metadata of linux/ptrace.h
  TRY(checked("PTRACE_SECCOMP_GET_METADATA", PTRACE_SECCOMP_GET_METADATA, tid_, sizeof metadata, &metadata));
  return metadata.flags;
}

}  // namespace upkeep::os
