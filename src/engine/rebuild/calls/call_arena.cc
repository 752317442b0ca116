#include "engine/rebuild/calls/call_arena.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>

#include "os/child_events.h"
#include "os/proc_maps.h"

// rbx: the call to make, rbp: behind the last one, r12: where to write the outcome (1: through, 2: the call
// at rbx failed), and whom to wake then (futex(2)).
asm(R"(
  .pushsection .rodata
  .global upkeep_loop_begin, upkeep_loop_wait, upkeep_loop_end
upkeep_loop_begin:
  cmp %rbp, %rbx
  je 2f
  mov (%rbx), %rax
  mov 8(%rbx), %rdi
  mov 16(%rbx), %rsi
  mov 24(%rbx), %rdx
  mov 32(%rbx), %r10
  mov 40(%rbx), %r8
  mov 48(%rbx), %r9
  syscall
  mov %rax, 64(%rbx)
  cmp $-4095, %rax
  jae 1f
0:
  add $72, %rbx
  jmp upkeep_loop_begin
1:
  testq $1, 56(%rbx)
  jnz 0b
  movq $2, (%r12)
  jmp 3f
2:
  movq $1, (%r12)
3:
  mov $202, %eax
  mov %r12, %rdi
  mov $1, %esi
  mov $1, %edx
  syscall
upkeep_loop_wait:
  mov $34, %eax
  syscall
  jmp upkeep_loop_wait
upkeep_loop_end:
  .popsection
)");

extern "C" {
extern const std::byte upkeep_loop_begin[], upkeep_loop_wait[], upkeep_loop_end[];
}

namespace upkeep::engine {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kCode = kPage, kControl = 64;

// What a program takes, with the place for its outcome before it.
std::uint64_t room_of(const Program& program) { return (kControl + program.size() + 63) / 64 * 64; }
constexpr std::uint64_t kLengthOfMove = 5;  // mov $34, %eax
enum class Outcome : std::uint64_t { running = 0, through = 1, failed = 2 };
constexpr milliseconds kLookAgain(5);

// Until the loop has written the outcome, or it is time to look at the task again.
void await_outcome(const std::uint32_t* outcome) {
  const timespec time = {0, std::chrono::nanoseconds(kLookAgain).count()};
  constexpr int kFutexWait = 0;  // shared between address spaces
  ::syscall(SYS_futex, outcome, kFutexWait, static_cast<std::uint32_t>(Outcome::running), &time, nullptr, 0);
}

}  // namespace

Result<CallArena> CallArena::make(std::uint64_t address, std::uint64_t size) {
  CallArena arena(address, size);
  arena.memory_ = os::UniqueFd(::memfd_create("upkeep calls", MFD_CLOEXEC));
  if (!arena.memory_.valid()) return ErrnoErr("memfd_create");
  if (::ftruncate(arena.memory_.get(), static_cast<off_t>(size)) < 0) return ErrnoErr("ftruncate");
  void* view = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, arena.memory_.get(), 0);
  if (view == MAP_FAILED) return ErrnoErr("mmap");
  arena.view_ = static_cast<std::byte*>(view);
  std::memcpy(arena.view_, upkeep_loop_begin, static_cast<std::size_t>(upkeep_loop_end - upkeep_loop_begin));
  return arena;
}

CallArena::CallArena(CallArena&& other) noexcept
    : address_(other.address_),
      size_(other.size_),
      memory_(std::move(other.memory_)),
      view_(std::exchange(other.view_, nullptr)),
      usual_(other.usual_) {}

CallArena::~CallArena() {
  if (view_ != nullptr) ::munmap(view_, size_);
}

std::uint64_t CallArena::system_call() const {
  return address_ + static_cast<std::uint64_t>(upkeep_loop_wait - upkeep_loop_begin) + kLengthOfMove;
}

void CallArena::wait_for_program() const {
  auto* code = reinterpret_cast<void*>(address_);
  auto* data = reinterpret_cast<void*>(address_ + kCode);
  const int flags = MAP_SHARED | MAP_FIXED_NOREPLACE;
  if (::mmap(code, kCode, PROT_READ | PROT_EXEC, flags, memory_.get(), 0) != code ||
      ::mmap(data, size_ - kCode, PROT_READ | PROT_WRITE, flags, memory_.get(), kCode) != data)
    ::_exit(1);
  asm volatile("jmp *%0" : : "r"(system_call() - kLengthOfMove));
  __builtin_unreachable();
}

std::int64_t result_of(std::span<const std::byte> placed, std::size_t call) {
  PlacedCall made;
  std::memcpy(&made, placed.subspan(call * sizeof made, sizeof made).data(), sizeof made);
  return made.result;
}

std::int64_t CallArena::result(std::size_t call) const {
  return result_of({view_ + kCode + kControl, size_ - kCode - kControl}, call);
}

Result<void> CallArena::put(std::uint64_t at, std::span<const std::byte> bytes) {
  if (at + kControl + bytes.size() > size_) return Err("a program of {} bytes is too large", bytes.size());
  std::memset(view_ + at, 0, kControl);
  std::copy(bytes.begin(), bytes.end(), view_ + at + kControl);
  return {};
}

Result<std::uint64_t> CallArena::lay_out(std::span<const std::byte> bytes) {
  TRY(put(kCode, bytes));
  return address_ + kCode + kControl;
}

Result<CallArena::Running> CallArena::start(const os::Tracee& task, const Program& program,
                                            std::uint64_t at) {
  const std::uint64_t calls = address_ + at + kControl;
  TRY(put(at, program.placed(calls)));
  if (!usual_) {
    TRY_ASSIGN(usual_, task.registers());
    usual_->fs_base = usual_->gs_base = usual_->rsp = 0;
  }
  auto registers = *usual_;
  registers.rip = address_;
  registers.rbx = calls;
  registers.rbp = calls + program.calls().size() * sizeof(PlacedCall);
  registers.r12 = address_ + at;
  registers.orig_rax = ~0ULL;
  registers.rax = 0;
  TRY(task.set_registers(registers));
  TRY(task.resume());
  return Running{&task, &program, at};
}

Result<void> CallArena::take_new_task(const os::Tracee& maker, const NewTask& on_new_task) {
  TRY_ASSIGN(const auto id, maker.event_message());
  auto task = os::Tracee::adopt(static_cast<pid_t>(id));
  TRY(task.wait_first_stop());
  if (on_new_task) TRY(on_new_task(std::move(task)));
  return maker.resume();
}

// Until the program has come to its end, where the task is interrupted. False: the task has ended.
Result<bool> CallArena::attend(const Running& running, const NewTask& on_new_task, Until until) {
  const auto& task = *running.task;
  const auto& calls = running.program->calls();
  const std::atomic_ref<std::uint64_t> outcome(*reinterpret_cast<std::uint64_t*>(view_ + running.at));
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::minutes(10);  // reading pages may take long
  const auto births = std::count_if(
      calls.begin(), calls.end(), [&](const Call& call) { return on_new_task && call.number == SYS_clone3; });
  std::optional<os::ChildEvents> events;
  if (births > 0 || may_be_killed_) events.emplace();
  for (std::ptrdiff_t born = 0;;) {
    if (until == Until::last_birth && born == births) return true;
    const auto said = static_cast<Outcome>(outcome.load());
    if (!events && (said == Outcome::through || said == Outcome::failed)) break;
    os::Stop stop;
    TRY_ASSIGN(const bool stopped, task.poll(stop));
    if (stopped) {
      if (stop.kind == os::Stop::Kind::ended) return false;
      if (stop.kind == os::Stop::Kind::new_task) {
        TRY(take_new_task(task, on_new_task));
        ++born;
      } else {
        const bool ends_so = stop.kind == os::Stop::Kind::signal_delivery && may_be_killed_;
        if (ends_so) TRY(task.resume(stop.signal));
        if (ends_so) continue;
        if (stop.kind == os::Stop::Kind::signal_delivery)
          return Err("task {} was sent signal {} while it was being made", task.tid(), stop.signal);
        TRY(task.resume());
      }
      continue;
    }
    if (said == Outcome::through || said == Outcome::failed) break;
    if (std::chrono::steady_clock::now() > end) return Err("task {} does not come to an end", task.tid());
    // A task that ends in between is seen at the next look.
    if (events && (born < births || may_be_killed_))
      events->wait(kLookAgain);
    else
      await_outcome(reinterpret_cast<std::uint32_t*>(view_ + running.at));
  }
  TRY(task.interrupt());
  return true;
}

Result<void> CallArena::come_to_stop(const Running& running) const {
  const auto& task = *running.task;
  TRY_ASSIGN(const auto stop, task.wait(milliseconds(10'000)));
  if (!stop.was_interrupted()) return Err("task {} did not stop", task.tid());
  std::uint64_t outcome = 0;
  std::memcpy(&outcome, view_ + running.at, sizeof outcome);
  if (static_cast<Outcome>(outcome) == Outcome::through) return {};
  TRY_ASSIGN(const auto registers, task.registers());
  const auto first = running.at + kControl;
  const auto index = (registers.rbx - address_ - first) / sizeof(PlacedCall);
  PlacedCall call;
  std::memcpy(&call, view_ + first + index * sizeof call, sizeof call);
  return Err("{} in task {}: {}", running.program->describe(index), task.tid(),
             errno_text(static_cast<int>(-call.result)));
}

Result<void> CallArena::run(const os::Tracee& task, const Program& program, const NewTask& on_new_task) {
  if (program.empty()) return {};
  TRY_ASSIGN(const auto running, begin(task, program));
  return end(running, on_new_task);
}

Result<void> CallArena::run(const Job& job, const NewTask& on_new_task) {
  TRY(run(*job.task, job.program, on_new_task));
  if (job.when_through) job.when_through(job.program, {view_ + kCode + kControl, job.program.size()});
  return {};
}

Result<CallArena::Running> CallArena::begin(const os::Tracee& task, const Program& program) {
  return start(task, program, kCode);
}

Result<void> CallArena::end(const Running& running, const NewTask& on_new_task) {
  TRY_ASSIGN(const bool alive, attend(running, on_new_task));
  if (!alive) return Err("task {} ended while it was being made", running.task->tid());
  return come_to_stop(running);
}

Result<void> CallArena::run_to_end(os::Tracee& task, const Program& program, const NewTask& on_new_task) {
  TRY_ASSIGN(const auto running, start(task, program, kCode));
  may_be_killed_ = true;
  auto alive_or_error = attend(running, on_new_task);
  may_be_killed_ = false;
  TRY_ASSIGN(const bool alive, std::move(alive_or_error));
  if (alive) {
    TRY(come_to_stop(running));  // names the call that failed
    return Err("task {} did not end", task.tid());
  }
  task.forget();
  return {};
}

Result<CallArena::Running> CallArena::begin_births(const os::Tracee& task, const Program& program) {
  const auto room = room_of(program);
  if (room > size_ - kCode) return Err("a program of {} bytes is too large", program.size());
  return start(task, program, (size_ - room) / 64 * 64);
}

Result<void> CallArena::end_births(const Running& running, const NewTask& on_new_task) {
  may_be_killed_ = true;
  auto alive_or_error = attend(running, on_new_task, Until::last_birth);
  may_be_killed_ = false;
  TRY_ASSIGN(const bool alive, std::move(alive_or_error));
  if (!alive) return Err("task {} ended while it was making others", running.task->tid());
  std::uint64_t outcome = 0;
  std::memcpy(&outcome, view_ + running.at, sizeof outcome);
  return static_cast<Outcome>(outcome) == Outcome::failed ? come_to_stop(running) : Result<void>();
}

Result<void> CallArena::add(Job job) {
  constexpr std::size_t kMost = 64;  // programs are not all kept until the last one is there
  if (job.program.empty()) return {};
  const auto room = room_of(job.program);
  if (begun_.size() == kMost || (!begun_.empty() && free_from_ + room > size_)) TRY(finish_all());
  if (begun_.empty()) free_from_ = kCode;
  auto& begun = begun_.emplace_back(Begun{std::move(job)});
  TRY_ASSIGN(begun.running, start(*begun.job.task, begun.job.program, free_from_));
  free_from_ += room;
  return {};
}

Result<void> CallArena::finish_all() {
  const auto all = std::exchange(begun_, {});
  for (const auto& [job, running] : all) {
    TRY_ASSIGN(const bool alive, attend(running, {}));
    if (!alive) return Err("task {} ended while it was being made", running.task->tid());
  }
  for (const auto& [job, running] : all) {
    TRY(come_to_stop(running));
    if (job.when_through) job.when_through(job.program, {view_ + running.at + kControl, job.program.size()});
  }
  return {};
}

Result<void> CallArena::run_all(std::vector<Job> jobs) {
  for (auto& job : jobs) TRY(add(std::move(job)));
  return finish_all();
}

Result<std::uint64_t> find_arena_place(const Snapshot& snapshot, std::uint64_t size) {
  struct Range {
    std::uint64_t start, end;
  };
  std::vector<Range> taken;
  for (const auto& process : snapshot.processes) {
    for (const auto& mapping : process.memory.mappings) taken.push_back({mapping.start, mapping.end});
    // Heap and stack may grow while we look.
    taken.push_back({process.memory.layout.start_brk, process.memory.layout.brk + (1ULL << 30U)});
  }
  TRY_ASSIGN(const auto own, os::own_maps());
  for (const auto& line : own) taken.push_back({line.start, line.end});
  std::sort(taken.begin(), taken.end(), [](const auto& a, const auto& b) { return a.start < b.start; });
  constexpr std::uint64_t kLowest = 1ULL << 32U, kMargin = 1ULL << 30U;
  std::uint64_t free_from = kLowest;
  for (const auto& range : taken) {
    if (range.start > free_from && range.start - free_from >= size + 2 * kMargin) break;
    free_from = std::max(free_from, range.end);
  }
  const std::uint64_t place = (free_from + kMargin + kPage - 1) / kPage * kPage;
  if (place + size > kHighestAddress) return Err("no place of {} bytes is free in all address spaces", size);
  return place;
}

}  // namespace upkeep::engine
