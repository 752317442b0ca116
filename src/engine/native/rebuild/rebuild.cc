#include "engine/native/rebuild/rebuild.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "engine/native/rebuild/compile.h"
#include "engine/native/rebuild/finish.h"
#include "engine/native/rebuild/in_the_way.h"
#include "engine/native/rebuild/open_files.h"
#include "engine/native/rebuild/workshop.h"
#include "os/child.h"
#include "os/file.h"
#include "os/time_namespace.h"
#include "os/uapi_supplement.h"

namespace upkeep::native {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kWorkshopSize = 256ULL << 20U;  // only what a program fills takes memory

std::int64_t now(clockid_t clock) {
  timespec time = {};
  ::clock_gettime(clock, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// Shared memory of ours that tasks map by its descriptor.
struct SharedPieces {
  std::vector<os::UniqueFd> files;
  std::map<std::uint64_t, int> by_inode;
};

Result<void> fill_shared(const SharedMemory& memory, std::byte* view, os::Fd pages) {
  for (const auto& run : memory.pages) {
    TRY(os::pread_all(pages, std::span(view + run.address, run.count * kPage),
                      static_cast<off_t>(run.position)));
  }
  return {};
}

Result<SharedPieces> make_shared_memory(const Snapshot& snapshot, const std::string& pages_path) {
  SharedPieces pieces;
  TRY_ASSIGN(const auto pages, os::open_file(pages_path, O_RDONLY));
  for (const auto& memory : snapshot.shared_memory) {
    void* view = ::mmap(nullptr, memory.size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (view == MAP_FAILED) return ErrnoErr("mmap {} bytes of shared memory", memory.size);
    const auto start = reinterpret_cast<std::uintptr_t>(view);
    auto filled = fill_shared(memory, static_cast<std::byte*>(view), pages);
    auto file =
        os::open_file(fmt::format("/proc/self/map_files/{:x}-{:x}", start, start + memory.size), O_RDWR);
    ::munmap(view, memory.size);
    TRY(std::move(filled));
    TRY_ASSIGN(auto fd, std::move(file));
    pieces.by_inode[memory.inode] = fd.get();
    pieces.files.push_back(std::move(fd));
  }
  return pieces;
}

bool kernel_takes_timer_ids() {
  constexpr unsigned long kAsk = 2;  // PR_TIMER_CREATE_RESTORE_IDS_GET
  return ::prctl(os::kPrTimerCreateRestoreIds, kAsk, 0, 0, 0) >= 0;
}

class Builder {
 public:
  Builder(const Snapshot& snapshot, std::string pages) : snapshot_(snapshot), pages_(std::move(pages)) {}

  Result<NewTasks> build() {
    TRY(look_for_what_is_in_the_way(snapshot_));
    TRY_ASSIGN(const auto births, plan_births(snapshot_));
    TRY_ASSIGN(const auto files, open_files(snapshot_));
    TRY_ASSIGN(const auto shared, make_shared_memory(snapshot_, pages_));
    TRY_ASSIGN(const auto place, find_workshop_place(snapshot_, kWorkshopSize));
    TRY_ASSIGN(auto shop, Workshop::make(place, kWorkshopSize));
    shop_ = &shop;
    TRY(make_roots());
    const auto terminals = terminal_sources(files);
    for (const auto& birth : births) TRY(make_children(birth, terminals));
    TRY(set_groups());
    for (const auto& process : snapshot_.processes)
      TRY(shop_->run(leader(process.pid), compile_terminal(process, snapshot_, terminals)));
    TRY(fill_memory(shared));
    TRY(end_zombies());
    for (const auto& process : snapshot_.processes) TRY(make_threads(process));
    std::vector<int> sources;
    for (const auto& file : files) sources.push_back(file.get());
    TRY(for_living([&](const Process& p) { return compile_descriptors(p, sources, ::getpid()); }));
    const bool timer_ids = kernel_takes_timer_ids();
    TRY(for_living([&](const Process& p) { return compile_signals(p, timer_ids); }));
    TRY(for_threads([](const Process& p, const Thread& t) { return compile_thread(p, t); }));
    TRY(for_living([&](const Process& p) { return compile_watches(snapshot_, p); }));
    TRY(for_threads([](const Process& p, const Thread& t) { return compile_credentials(p, t); }));
    for (const auto& process : snapshot_.processes) {
      if (!process.exit_status) TRY(finish_process(process, tasks_.find(process.pid)->threads, shop));
    }
    return std::move(tasks_);
  }

 private:
  const os::Tracee& leader(pid_t pid) { return tasks_.find(pid)->threads.front(); }

  Result<void> take(os::Tracee task) {
    const pid_t pid = task.tid();
    tasks_.processes().push_back({pid, {}});
    tasks_.processes().back().threads.push_back(std::move(task));
    return {};
  }

  // In a new time namespace the clocks go on from where they stood.
  Result<std::string> clock_offsets() const {
    TRY_ASSIGN(const auto own, os::clock_offsets(0));
    return os::clock_offsets_text({snapshot_.clocks.monotonic - (now(CLOCK_MONOTONIC) - own.monotonic),
                                   snapshot_.clocks.boottime - (now(CLOCK_BOOTTIME) - own.boottime)});
  }

  Result<void> make_roots() {
    const pid_t parent = ::getpid();
    TRY_ASSIGN(const auto child, os::fork_child([&]() -> int {
                 ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                 if (::getppid() != parent) return 1;
                 sigset_t all;
                 sigfillset(&all);
                 ::sigprocmask(SIG_SETMASK, &all, nullptr);
                 ::signal(SIGCHLD, SIG_DFL);  // where it is ignored, tasks that end would leave no zombie
                 shop_->wait_for_program();
               }));
    TRY_ASSIGN(auto helper,
               os::Tracee::seize(child.pid, os::Tracee::kKillWithTracer | os::Tracee::kFollowNewTasks));
    auto made = run_helper(helper);
    if (made) return {};
    ::kill(child.pid, SIGKILL);
    (void)helper.wait(seconds(10));
    helper.forget();
    return made;
  }

  Result<void> run_helper(os::Tracee& helper) {
    TRY(await_workshop(helper));
    std::vector<const Process*> roots;
    for (auto pid : snapshot_.roots()) roots.push_back(snapshot_.find(pid));
    RestartableSequence rseq;
    if (auto own = helper.rseq()) rseq = {own->pointer, own->size, own->signature};
    TRY_ASSIGN(const auto offsets, clock_offsets());
    return shop_->run_to_end(helper, compile_roots(roots, rseq, offsets),
                             [this](os::Tracee task) { return take(std::move(task)); });
  }

  // It may be stopped before it has mapped the workshop: then it goes on for a bit.
  Result<void> await_workshop(const os::Tracee& helper) const {
    for (int tries = 0; tries < 1000; ++tries) {
      TRY(helper.interrupt());
      TRY_ASSIGN(const auto stop, helper.wait(seconds(10)));
      if (stop.kind != os::Stop::Kind::event_stop) return Err("the helper ended before it could begin");
      TRY_ASSIGN(const auto registers, helper.registers());
      if (registers.rip >= shop_->address() && registers.rip < shop_->address() + shop_->size()) return {};
      TRY(helper.resume());
      timespec pause = {0, 200'000};
      ::nanosleep(&pause, nullptr);
    }
    return Err("the helper does not come to its workshop");
  }

  TerminalSources terminal_sources(const std::vector<os::UniqueFd>& files) const {
    TerminalSources sources;
    sources.restorer = ::getpid();
    for (std::size_t i = 0; i < files.size() && i < snapshot_.files.size(); ++i) {
      const auto& end = snapshot_.files[i].terminal;
      if (end && end->device != 0 && !end->master) sources.slaves.emplace(end->device, files[i].get());
    }
    return sources;
  }

  Result<void> make_children(const Birth& birth, const TerminalSources& terminals) {
    if (birth.process->exit_status && birth.before_setsid.empty() && birth.after_setsid.empty() &&
        birth.process->session != birth.process->pid)
      return {};
    return shop_->run(leader(birth.process->pid), compile_birth(birth, terminals),
                      [this](os::Tracee task) { return take(std::move(task)); });
  }

  // A group is there as soon as its leader has made it.
  Result<void> set_groups() {
    for (const bool leaders : {true, false}) {
      for (const auto& process : snapshot_.processes) {
        if ((process.pgrp == process.pid) == leaders)
          TRY(shop_->run(leader(process.pid), compile_group(process)));
      }
    }
    return {};
  }

  Result<void> fill_memory(const SharedPieces& shared) {
    MemorySources sources;
    sources.keep_start = shop_->address();
    sources.keep_end = shop_->address() + shop_->size();
    sources.pages = pages_;
    sources.restorer = ::getpid();
    sources.shared = shared.by_inode;
    return for_living([&](const Process& p) { return compile_memory(p, sources); });
  }

  Result<void> end_zombies() {
    for (const auto& process : snapshot_.processes) {
      if (!process.exit_status) continue;
      auto* made = tasks_.find(process.pid);
      TRY(shop_->run_to_end(made->threads.front(), compile_end(process)));
      made->threads.clear();
    }
    return {};
  }

  Result<void> make_threads(const Process& process) {
    if (process.threads.size() < 2) return {};
    std::vector<os::Tracee> made;
    auto ran =
        shop_->run(leader(process.pid), compile_threads(process), [&](os::Tracee task) -> Result<void> {
          made.push_back(std::move(task));
          return {};
        });
    auto& threads = tasks_.find(process.pid)->threads;
    std::move(made.begin(), made.end(), std::back_inserter(threads));
    return ran;
  }

  template <typename Compile>
  Result<void> for_living(const Compile& compile) {
    for (const auto& process : snapshot_.processes) {
      if (!process.exit_status) TRY(shop_->run(leader(process.pid), compile(process)));
    }
    return {};
  }

  template <typename Compile>
  Result<void> for_threads(const Compile& compile) {
    for (const auto& process : snapshot_.processes) {
      for (std::size_t i = 0; i < process.threads.size(); ++i)
        TRY(shop_->run(tasks_.find(process.pid)->threads[i], compile(process, process.threads[i])));
    }
    return {};
  }

  const Snapshot& snapshot_;
  std::string pages_;
  Workshop* shop_ = nullptr;
  NewTasks tasks_;
};

}  // namespace

NewProcess* NewTasks::find(pid_t pid) {
  auto found =
      std::find_if(processes_.begin(), processes_.end(), [pid](const auto& p) { return p.pid == pid; });
  return found == processes_.end() ? nullptr : &*found;
}

NewTasks::~NewTasks() {
  for (const auto& process : processes_) {
    if (!process.threads.empty()) ::kill(process.pid, SIGKILL);
  }
  for (auto& process : processes_) {
    for (auto thread = process.threads.rbegin(); thread != process.threads.rend(); ++thread) {
      for (;;) {
        auto stop = thread->wait(seconds(5));
        if (!stop || stop->kind == os::Stop::Kind::ended) break;
      }
      thread->forget();
    }
  }
}

Result<NewTasks> rebuild(const Snapshot& snapshot, const std::string& pages) {
  return Builder(snapshot, pages).build();
}

}  // namespace upkeep::native
