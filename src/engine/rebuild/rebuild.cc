#include "engine/rebuild/rebuild.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <set>
#include <span>

#include "engine/rebuild/calls/call_arena.h"
#include "engine/rebuild/compile.h"
#include "engine/rebuild/complete.h"
#include "engine/rebuild/files/epoll.h"
#include "engine/rebuild/files/io_uring.h"
#include "engine/rebuild/files/ipc_objects.h"
#include "engine/rebuild/files/kept_files.h"
#include "engine/rebuild/files/open_file.h"
#include "engine/rebuild/memory/huge_pages.h"
#include "engine/rebuild/namespaces/pid_namespaces.h"
#include "engine/rebuild/obstacles.h"
#include "engine/rebuild/sockets/listeners.h"
#include "engine/rebuild/task/family.h"
#include "engine/rebuild/task/finish.h"
#include "engine/rebuild/task/helper.h"
#include "engine/rebuild/task/job_stops.h"
#include "engine/rebuild/task/restorer.h"
#include "engine/rebuild/task/roll_call.h"
#include "engine/tree/births.h"
#include "os/file.h"
#include "os/procfs.h"
#include "os/time_namespace.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kWorkshopSize = 256ULL << 20U;  // only what a program fills takes memory
constexpr std::size_t kCompiledAhead = 64;
constexpr const char* kLastId = "/proc/sys/kernel/ns_last_pid";

std::int64_t now(clockid_t clock) {
  timespec time = {};
  ::clock_gettime(clock, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

bool has_droppable_memory(const Snapshot& snapshot) {
  return std::ranges::any_of(snapshot.processes, [](const Process& process) {
    return std::ranges::any_of(process.memory.mappings, [](const Mapping& m) { return m.has_flag("dp"); });
  });
}

bool kernel_has_droppable_memory() {
  void* page = ::mmap(nullptr, kPage, PROT_READ, os::kMapDroppable | MAP_ANONYMOUS, -1, 0);
  return page != MAP_FAILED && ::munmap(page, kPage) == 0;
}

Result<Births> births_of(const Snapshot& snapshot) {
  auto births = plan_births(snapshot);
  if (births) return std::move(*births);
  const auto& obstacle = births.error();
  return Err("process {}, {}: {}", obstacle.pid, obstacle.what, obstacle.why);
}

class Builder {
 public:
  Builder(const Snapshot& snapshot, std::string pages) : snapshot_(snapshot), pages_(std::move(pages)) {}

  Result<NewTasks> build() {
    const bool timer_ids = kernel_takes_timer_ids();
    TRY_ASSIGN(const auto inherited, what_is_inherited());
    TRY(check_complete(snapshot_, timer_ids));
    TRY_ASSIGN(const auto births, births_of(snapshot_));
    common_memory_ = CommonMemory(births);
    TRY_ASSIGN(const auto place, find_workshop_place(snapshot_, kWorkshopSize));
    TRY_ASSIGN(auto shop, Workshop::make(place, kWorkshopSize));
    shop_ = &shop;
    Helper helper(shop);
    const auto ids = needed_ids(snapshot_, births);
    TRY(helper.start(ids, options()));
    TRY_ASSIGN(clocks_, clock_offsets());  // before the first timer is set: they go on together
    TRY_ASSIGN(namespaces_, make_namespaces(snapshot_, clocks_));
    TRY(look_for_what_is_in_the_way(snapshot_, ids, namespaces_));
    TRY(huge_pages_suffice(snapshot_));
    TRY(helper.begin_emptying());
    TRY_ASSIGN(auto ipc_objects, MadeIpcObjects::make(snapshot_));
    TRY_ASSIGN(auto queues, MadePosixQueues::make(snapshot_));
    TRY_ASSIGN(auto kept, KeptFiles::make(snapshot_, pages_));
    // Most get their descriptors with their own state, in one program.
    const auto stopped = [](const Process& p) { return !p.exit_status && p.job_stopped; };
    const bool jobs_are_stopped = std::ranges::any_of(snapshot_.processes, stopped);
    const auto in_one = [&](const Process& p) { return !jobs_are_stopped && !in_user_namespace(p); };
    const auto listeners = find_own_listeners(snapshot_, inherited, in_one);
    TRY_ASSIGN(auto opened,
               open_files(snapshot_, namespaces_, kept, queues, inodes_of(listeners), tasks_.connections()));
    auto& files = opened.files;
    TRY_ASSIGN(auto kept_for_mappings, kept.for_mappings(snapshot_));
    TRY(add_rings_for_mappings(snapshot_, files, kept_for_mappings));
    TRY(find_memory_sources(std::move(kept_for_mappings)));
    TRY(make_family(births, helper, terminal_sources(files)));
    TRY(place_in_cgroups(snapshot_));
    TRY(for_living([login = own_login()](const Process& p) {
      return p.login_uid == login ? Program() : compile_login(p);
    }));
    TRY(make_childrens_time());
    TRY(for_living([&](const Process& p) {
      return p.namespaces ? compile_namespaces(p, snapshot_.namespaces[*p.namespaces],
                                               namespaces_[*p.namespaces], ::getpid())
                          : Program();
    }));
    TRY(helper.await_end());
    TRY(fill_memory_and_make_threads());
    TRY(kept.finish());
    TRY(end_zombies());
    TRY(complete_files(snapshot_, namespaces_, opened));
    const auto own_sets = find_own_sets(snapshot_, in_one);
    TRY(add_watches(snapshot_, files, own_sets));
    TRY(set_input_signals(snapshot_, files));
    TRY(finish_pid_namespaces(snapshot_, namespaces_));
    std::vector<int> sources;
    sources.reserve(files.size());
    for (const auto& file : files) sources.push_back(file.get());
    TRY(for_living([&](const Process& p) {
      if (in_one(p)) return Program();
      auto program = key_owners(p);
      program.append(compile_descriptors(p, sources, ::getpid()));
      if (in_user_namespace(p))
        program.append(compile_user_namespace(p, namespaces_[*p.namespaces], ::getpid()));
      return program;
    }));
    for (const auto& process : snapshot_.processes) {
      if (in_user_namespace(process) && has_threads(process)) TRY(make_numbered_threads(process));
    }
    TRY(stop_jobs(snapshot_, tasks_, shop));
    const auto own_state = [&](const Process& p, const Thread& t) {
      const bool at_once = t.tid == p.pid && in_one(p);
      auto program = at_once ? key_owners(p) : Program();
      if (at_once) program.append(compile_descriptors(p, sources, ::getpid()));
      const auto sets = own_sets.find(t.tid);
      if (sets != own_sets.end()) program.append(compile_watches(snapshot_, sets->second));
      const auto own = listeners.find(t.tid);
      if (own != listeners.end()) program.append(compile_listening(own->second, true));
      program.append(compile_own_state(snapshot_, p, t, {timer_ids, in_user_namespace(p), &inherited}));
      if (own != listeners.end()) program.append(compile_listening(own->second, false));
      return program;
    };
    TRY(set_own_state(own_state));
    TRY(ask_the_rest());
    for (const auto& process : snapshot_.processes)
      TRY_IN(fmt::format("process {}", process.pid), set_scores(process));
    std::vector<Unfinished> unfinished;
    for (const auto& process : snapshot_.processes) {
      if (!process.exit_status) unfinished.push_back({&process, &tasks_.find(process.pid)->threads});
    }
    TRY(finish(unfinished, shop));
    ipc_objects.keep();
    queues.keep();
    return std::move(tasks_);
  }

 private:
  const os::Tracee& leader(pid_t pid) { return tasks_.find(pid)->threads.front(); }

  bool in_user_namespace(const Process& process) const {
    return process.namespaces && namespaces_[*process.namespaces].user.valid();
  }
  static bool has_threads(const Process& process) {
    return !process.exit_status && process.threads.size() > 1;
  }

  Result<void> make_childrens_time() {
    for (const auto& process : snapshot_.processes) {
      if (!process.namespaces || process.exit_status) continue;
      const auto& wanted = snapshot_.namespaces[*process.namespaces];
      if (!wanted.time_for_children) continue;
      TRY(shop_->run(leader(process.pid),
                     compile_childrens_time(process, namespaces_[*process.namespaces], ::getpid())));
      TRY(os::write_value(fmt::format("/proc/{}/timens_offsets", process.pid),
                          offsets_text(clocks_, *wanted.time_for_children)));
      TRY(take_childrens_time(process, snapshot_, namespaces_));
    }
    return {};
  }

  // With which the clocks go on from where they stood in a new time namespace.
  Result<os::ClockOffsets> clock_offsets() const {
    TRY_ASSIGN(const auto own, os::own_clock_offsets(0));
    return os::ClockOffsets{snapshot_.clocks.monotonic - (now(CLOCK_MONOTONIC) - own.monotonic),
                            snapshot_.clocks.boottime - (now(CLOCK_BOOTTIME) - own.boottime)};
  }

  Result<void> make_family(const Births& births, Helper& helper, const TerminalSources& terminals) {
    Family family(snapshot_, births, tasks_, *shop_, options());
    TRY(helper.begin_roots(compile_roots(births, os::clock_offsets_text(clocks_), snapshot_, ::getpid())));
    compile_memory_ahead();
    TRY(helper.take_roots(family.taker()));
    TRY(family.make(terminals, [this](const Process& process) {
      const auto* common = common_memory_.to_be_made_by(process);
      return common == nullptr ? Program() : compile_common_memory(process, memory_sources_, *common);
    }));
    keys_ = family.take_keys();
    return {};
  }

  // Where PROCESS has made keys: they get their owners.
  Program key_owners(const Process& process) const {
    const auto made = keys_.find(process.pid);
    if (made == keys_.end()) return Program();
    return compile_key_owners(snapshot_.keyrings[*process.stopped->keyring], made->second);
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

  Result<void> find_memory_sources(std::map<KeptKey, int> kept) {
    auto& sources = memory_sources_;
    sources.keep_start = shop_->address();
    sources.keep_end = shop_->address() + shop_->size();
    TRY_ASSIGN(page_file_, os::open_file(pages_, O_RDONLY));
    sources.pages = page_file_.get();
    sources.restorer = ::getpid();
    sources.kept = std::move(kept);
    sources.droppable = has_droppable_memory(snapshot_) && kernel_has_droppable_memory();
    return {};
  }

  // While others work for us. Not of all processes of a large tree: programs are not all kept at once.
  void compile_memory_ahead() {
    for (const auto& process : snapshot_.processes) {
      if (compiled_ahead_.size() == kCompiledAhead) return;
      if (!process.exit_status) compiled_ahead_.emplace(process.pid, memory_of(process));
    }
  }

  Program memory_program(const Process& process) {
    const auto ahead = compiled_ahead_.find(process.pid);
    if (ahead == compiled_ahead_.end()) return memory_of(process);
    return std::move(ahead->second);
  }

  Program memory_of(const Process& process) const {
    return compile_memory(process, memory_sources_, common_memory_.there_in(process));
  }

  // Threads of those that get a user namespace of their own later are made in there.
  Result<void> fill_memory_and_make_threads() {
    const auto makes_threads = [&](const Process& p) { return has_threads(p) && !in_user_namespace(p); };
    for (const auto& process : snapshot_.processes) {
      // They come to be traced (CLONE_PTRACE) without a stop of their maker's for each.
      if (makes_threads(process))
        TRY(leader(process.pid).set_options(options() & ~os::Tracee::kFollowNewTasks));
    }
    auto made = for_living([&](const Process& p) {
      auto program = memory_program(p);
      if (makes_threads(p)) {
        program.append(compile_common_filters(snapshot_, p));
        program.append(compile_threads(p));
      }
      return program;
    });
    for (const auto& process : snapshot_.processes) {
      if (makes_threads(process))
        TRY_IN(fmt::format("process {}", process.pid), take_threads(process, made.has_value()));
    }
    return made;
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

  // The kernel gives IDs in turn: one is as good as asked for, unless somebody else is faster.
  Result<void> make_numbered_thread(const Process& process, pid_t tid) {
    constexpr int kTries = 200;
    for (int tries = 0; tries < kTries; ++tries) {
      TRY(os::write_value(kLastId, std::to_string(tid - 1)));
      std::vector<os::Tracee> made;
      TRY(shop_->run(leader(process.pid), compile_any_thread(), [&](os::Tracee task) -> Result<void> {
        made.push_back(std::move(task));
        return {};
      }));
      if (made.size() != 1) return Err("no thread was made");
      if (made.front().tid() == tid) {
        tasks_.find(process.pid)->threads.push_back(std::move(made.front()));
        return {};
      }
      TRY(shop_->run_to_end(made.front(), compile_thread_end()));
    }
    return Err("the ID {} is always taken by somebody else", tid);
  }

  Result<void> make_numbered_threads(const Process& process) {
    TRY(shop_->run(leader(process.pid), compile_common_filters(snapshot_, process)));
    TRY_ASSIGN(const auto last, os::read_file(kLastId));
    for (const auto& thread : process.threads) {
      if (thread.tid != process.pid)
        TRY_IN(fmt::format("process {}", process.pid), make_numbered_thread(process, thread.tid));
    }
    // No ID is given again sooner than it would have been.
    return os::write_value(kLastId, last);
  }

  // Where not ALL could be made, those that are there.
  Result<void> take_threads(const Process& process, bool all) {
    std::set<pid_t> there;
    if (!all) {
      TRY_ASSIGN(const auto tids, os::list_threads(process.pid));
      there.insert(tids.begin(), tids.end());
    }
    auto& threads = tasks_.find(process.pid)->threads;
    for (const auto& thread : process.threads) {
      if (thread.tid != process.pid && (all || there.contains(thread.tid)))
        threads.push_back(os::Tracee::adopt(thread.tid));
    }
    for (const auto& thread : std::span(threads).subspan(1)) TRY(thread.wait_first_stop());
    return {};
  }

  // What COMPILE makes of each process, run in its first thread.
  template <typename Compile>
  Result<void> for_living(const Compile& compile) {
    for (const auto& process : snapshot_.processes) {
      if (!process.exit_status) TRY(shop_->add({&leader(process.pid), compile(process)}));
    }
    return shop_->finish_all();
  }

  // To ignore a signal, as leaders do for all, takes away those that are pending in other threads: then the
  // leader comes first. Else it comes last, and tells at once what all threads of it have a part in.
  static bool leader_is_first(const Process& process) {
    return std::any_of(process.threads.begin() + 1, process.threads.end(),
                       [](const Thread& thread) { return !thread.stopped->pending.empty(); });
  }

  template <typename Compile>
  Result<void> set_own_state(const Compile& compile) {
    const auto set_leaders = [&](bool first) -> Result<void> {
      for (const auto& process : snapshot_.processes) {
        if (process.exit_status || leader_is_first(process) != first) continue;
        RollCall call;
        auto program = compile(process, process.threads.front());
        call.ask_thread(program);
        call.ask_keyring(program);
        if (!first) call.ask_process(process, program);
        ask_made_keys(process, call, program);
        TRY(add_job(leader(process.pid), std::move(program), std::move(call)));
      }
      return shop_->finish_all();
    };
    TRY(set_leaders(true));
    for (const auto& process : snapshot_.processes) {
      for (std::size_t i = 1; i < process.threads.size(); ++i) {
        RollCall call;
        auto program = compile(process, process.threads[i]);
        call.ask_thread(program);
        TRY(add_job(tasks_.find(process.pid)->threads[i], std::move(program), std::move(call)));
      }
    }
    TRY(shop_->finish_all());
    return set_leaders(false);
  }

  // Where all keys of its keyring are its own, so that their numbers are known already.
  void ask_made_keys(const Process& process, RollCall& call, Program& program) {
    const auto made = keys_.find(process.pid);
    if (made == keys_.end()) return;
    const auto keyring = *process.stopped->keyring;
    if (made->second.size() != snapshot_.keyrings[keyring].keys.size()) return;
    if (!asked_keyrings_.insert(keyring).second) return;
    for (const auto key : made->second) call.ask_key(static_cast<std::int32_t>(key), program);
  }

  // What all threads of a process have a part in, where it has not been told yet; and keys, by the first
  // process of those that have a keyring, who is the one that will be asked about it.
  Result<void> ask_the_rest() {
    for (const auto& process : snapshot_.processes) {
      if (process.exit_status) continue;
      RollCall call;
      Program program;
      if (leader_is_first(process)) call.ask_process(process, program);
      const auto& keyring = process.stopped->keyring;
      if (keyring && asked_keyrings_.insert(*keyring).second) {
        for (const auto key : told_keys(process.pid, tasks_.answers())) call.ask_key(key, program);
      }
      if (!call.empty()) TRY(add_job(leader(process.pid), std::move(program), std::move(call)));
    }
    return shop_->finish_all();
  }

  // The answers to CALL are kept.
  Result<void> add_job(const os::Tracee& task, Program program, RollCall call) {
    auto keep = [this, tid = task.tid(), call = std::move(call)](const Program& run,
                                                                 std::span<const std::byte> placed) {
      call.take(tid, run, placed, tasks_.answers());
    };
    return shop_->add({&task, std::move(program), std::move(keep)});
  }

  unsigned long options() const {
    return os::Tracee::kKillWithTracer | os::Tracee::kFollowNewTasks |
           (has_filters(snapshot_) ? os::Tracee::kSuspendSeccomp : 0);
  }

  const Snapshot& snapshot_;
  std::string pages_;
  AllNamespaces namespaces_;
  os::ClockOffsets clocks_;
  Workshop* shop_ = nullptr;
  os::UniqueFd page_file_;
  MemorySources memory_sources_;
  CommonMemory common_memory_;
  std::map<pid_t, Program> compiled_ahead_;
  MadeKeys keys_;
  std::set<std::uint32_t> asked_keyrings_;
  NewTasks tasks_;
};

}  // namespace

NewProcess* NewTasks::find(pid_t pid) {
  const auto found = positions_.find(pid);
  return found == positions_.end() ? nullptr : &processes_.at(found->second);
}

NewTasks::~NewTasks() {
  for (const auto& process : processes_) {
    if (!process.threads.empty()) ::kill(process.pid, SIGKILL);
  }
  // The first process of a PID namespace ends last of those in there.
  for (auto process = processes_.rbegin(); process != processes_.rend(); ++process) {
    for (auto thread = process->threads.rbegin(); thread != process->threads.rend(); ++thread) {
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

}  // namespace upkeep::engine
