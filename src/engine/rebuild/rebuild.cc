#include "engine/rebuild/rebuild.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "engine/rebuild/calls/call_arena.h"
#include "engine/rebuild/complete.h"
#include "engine/rebuild/files/descriptors.h"
#include "engine/rebuild/files/epoll.h"
#include "engine/rebuild/files/io_uring.h"
#include "engine/rebuild/files/ipc_objects.h"
#include "engine/rebuild/files/kept_files.h"
#include "engine/rebuild/files/open_file.h"
#include "engine/rebuild/memory/address_space.h"
#include "engine/rebuild/memory/huge_pages.h"
#include "engine/rebuild/namespaces/entering.h"
#include "engine/rebuild/namespaces/pid_namespaces.h"
#include "engine/rebuild/obstacles.h"
#include "engine/rebuild/sockets/listeners.h"
#include "engine/rebuild/task/births.h"
#include "engine/rebuild/task/family.h"
#include "engine/rebuild/task/finish.h"
#include "engine/rebuild/task/helper.h"
#include "engine/rebuild/task/identity.h"
#include "engine/rebuild/task/job_stops.h"
#include "engine/rebuild/task/keyrings.h"
#include "engine/rebuild/task/own_state.h"
#include "engine/rebuild/task/restorer.h"
#include "engine/rebuild/task/seccomp.h"
#include "engine/rebuild/task/set_own_state.h"
#include "engine/rebuild/task/threads.h"
#include "engine/tree/births.h"
#include "os/file.h"
#include "os/time_namespace.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

constexpr std::uint64_t kArenaSize = 256ULL << 20U;  // only what a program fills takes memory
constexpr std::size_t kCompiledAhead = 64;

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

bool is_job_stopped(const Process& process) { return !process.exit_status && process.job_stopped; }

bool has_threads(const Process& process) { return !process.exit_status && process.threads.size() > 1; }

// The steps of rebuild.h, in that order.
class Builder {
 public:
  Builder(const Snapshot& snapshot, std::string pages)
      : snapshot_(snapshot),
        pages_(std::move(pages)),
        jobs_are_stopped_(std::ranges::any_of(snapshot.processes, is_job_stopped)) {}

  Result<NewTasks> build() {
    TRY(prepare());
    TRY(make_files());
    TRY(make_family());
    TRY(enter_namespaces());
    TRY(helper_->await_end());
    TRY(fill_memory_and_make_threads());
    TRY(kept_->finish());
    TRY(end_zombies());
    TRY(complete_files(snapshot_, namespaces_, opened_));
    own_sets_ = find_own_sets(snapshot_, [this](const Process& p) { return is_set_at_once(p); });
    TRY(add_watches(snapshot_, opened_.files, own_sets_));
    TRY(set_input_signals(snapshot_, opened_.files));
    TRY(finish_pid_namespaces(snapshot_, namespaces_));
    for (const auto& file : opened_.files) sources_.push_back(file.get());
    TRY(take_descriptors());
    TRY(stop_jobs(snapshot_, tasks_, *arena_));
    TRY(set_own_state());
    for (const auto& process : snapshot_.processes)
      TRY_IN(fmt::format("process {}", process.pid), set_scores(process));
    TRY(finish_tasks());
    ipc_objects_->keep();
    queues_->keep();
    return std::move(tasks_);
  }

 private:
  const os::Tracee& leader(pid_t pid) { return tasks_.find(pid)->threads.front(); }

  bool in_user_namespace(const Process& process) const {
    return process.namespaces && namespaces_[*process.namespaces].user.valid();
  }
  // Most get their descriptors with their own state, in one program.
  bool is_set_at_once(const Process& process) const {
    return !jobs_are_stopped_ && !in_user_namespace(process);
  }

  unsigned long options() const {
    return os::Tracee::kKillWithTracer | os::Tracee::kFollowNewTasks |
           (has_filters(snapshot_) ? os::Tracee::kSuspendSeccomp : 0);
  }

  // What COMPILE makes of each process, run in its first thread.
  template <typename Compile>
  Result<void> for_living(const Compile& compile) {
    for (const auto& process : snapshot_.processes) {
      if (!process.exit_status) TRY(arena_->add({&leader(process.pid), compile(process)}));
    }
    return arena_->finish_all();
  }

  // The helper, namespaces; what is looked for before anything else is made.
  Result<void> prepare() {
    timer_ids_ = kernel_takes_timer_ids();
    TRY_ASSIGN(inherited_, what_is_inherited());
    TRY(check_complete(snapshot_, timer_ids_));
    TRY_ASSIGN(births_, births_of(snapshot_));
    common_memory_ = CommonMemory(births_);
    TRY_ASSIGN(const auto place, find_arena_place(snapshot_, kArenaSize));
    TRY_ASSIGN(auto arena, CallArena::make(place, kArenaSize));
    arena_.emplace(std::move(arena));
    helper_.emplace(*arena_);
    const auto ids = needed_ids(snapshot_, births_);
    TRY(helper_->start(ids, options()));
    TRY_ASSIGN(clocks_, clock_offsets());  // before the first timer is set: they go on together
    TRY_ASSIGN(namespaces_, make_namespaces(snapshot_, clocks_));
    TRY(look_for_obstacles(snapshot_, ids, namespaces_));
    TRY(huge_pages_suffice(snapshot_));
    return helper_->begin_emptying();
  }

  // With which the clocks go on from where they stood in a new time namespace.
  Result<os::ClockOffsets> clock_offsets() const {
    TRY_ASSIGN(const auto own, os::own_clock_offsets(0));
    return os::ClockOffsets{snapshot_.clocks.monotonic - (now(CLOCK_MONOTONIC) - own.monotonic),
                            snapshot_.clocks.boottime - (now(CLOCK_BOOTTIME) - own.boottime)};
  }

  // All that is not about tasks of the tree.
  Result<void> make_files() {
    TRY_ASSIGN(auto ipc_objects, MadeIpcObjects::make(snapshot_));
    ipc_objects_.emplace(std::move(ipc_objects));
    TRY_ASSIGN(auto queues, MadePosixQueues::make(snapshot_));
    queues_.emplace(std::move(queues));
    TRY_ASSIGN(auto kept, KeptFiles::make(snapshot_, pages_));
    kept_.emplace(std::move(kept));
    listeners_ = find_own_listeners(snapshot_, inherited_.credentials,
                                    [this](const Process& p) { return is_set_at_once(p); });
    TRY_ASSIGN(opened_, open_files(snapshot_, namespaces_, *kept_, *queues_, inodes_of(listeners_),
                                   tasks_.connections()));
    TRY_ASSIGN(auto kept_for_mappings, kept_->for_mappings(snapshot_));
    TRY(add_rings_for_mappings(snapshot_, opened_.files, kept_for_mappings));
    return find_memory_sources(std::move(kept_for_mappings));
  }

  Result<void> find_memory_sources(KeptDescriptors kept) {
    auto& sources = memory_sources_;
    sources.keep_start = arena_->address();
    sources.keep_end = arena_->address() + arena_->size();
    TRY_ASSIGN(page_file_, os::open_file(pages_, O_RDONLY));
    sources.pages = page_file_.get();
    sources.restorer = ::getpid();
    sources.kept = std::move(kept);
    sources.droppable = has_droppable_memory(snapshot_) && kernel_has_droppable_memory();
    return {};
  }

  TerminalSources terminal_sources() const {
    TerminalSources sources;
    sources.restorer = ::getpid();
    const auto& files = opened_.files;
    for (std::size_t i = 0; i < files.size() && i < snapshot_.files.size(); ++i) {
      const auto& end = snapshot_.files[i].terminal;
      if (end && end->device != 0 && !end->master) sources.slaves.emplace(end->device, files[i].get());
    }
    return sources;
  }

  Result<void> make_family() {
    Family family(snapshot_, births_, tasks_, *arena_, options());
    TRY(helper_->begin_roots(compile_roots(births_, os::clock_offsets_text(clocks_), snapshot_, ::getpid())));
    compile_memory_ahead();
    TRY(helper_->take_roots(family.taker()));
    TRY(family.make(terminal_sources(), [this](const Process& process) {
      const auto* common = common_memory_.to_be_made_by(process);
      return common == nullptr ? Program() : compile_common_memory(process, memory_sources_, *common);
    }));
    keys_ = family.take_keys();
    return {};
  }

  Result<void> enter_namespaces() {
    TRY(place_in_cgroups(snapshot_));
    TRY(for_living([login = own_login()](const Process& p) {
      return p.login_uid == login ? Program() : compile_login(p);
    }));
    TRY(make_childrens_time());
    return for_living([this](const Process& p) {
      return p.namespaces ? compile_namespaces(p, snapshot_.namespaces[*p.namespaces],
                                               namespaces_[*p.namespaces], ::getpid())
                          : Program();
    });
  }

  Result<void> make_childrens_time() {
    for (const auto& process : snapshot_.processes) {
      if (!process.namespaces || process.exit_status) continue;
      const auto& wanted = snapshot_.namespaces[*process.namespaces];
      if (!wanted.time_for_children) continue;
      TRY(arena_->run(leader(process.pid),
                      compile_childrens_time(process, namespaces_[*process.namespaces], ::getpid())));
      TRY(os::write_value(fmt::format("/proc/{}/timens_offsets", process.pid),
                          offsets_text(clocks_, *wanted.time_for_children)));
      TRY(take_childrens_time(process, snapshot_, namespaces_));
    }
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
        TRY_IN(fmt::format("process {}", process.pid),
               take_threads(process, made.has_value(), *tasks_.find(process.pid)));
    }
    return made;
  }

  Result<void> end_zombies() {
    for (const auto& process : snapshot_.processes) {
      if (!process.exit_status) continue;
      auto* made = tasks_.find(process.pid);
      TRY(arena_->run_to_end(made->threads.front(), compile_end(process)));
      made->threads.clear();
    }
    return {};
  }

  // Where PROCESS has made keys: they get their owners.
  Program key_owners(const Process& process) const {
    const auto made = keys_.find(process.pid);
    if (made == keys_.end()) return Program();
    return compile_key_owners(snapshot_.keyrings[*process.stopped->keyring], made->second);
  }

  // Those that do not get them with their own state; user namespaces, and the threads in there.
  Result<void> take_descriptors() {
    TRY(for_living([&](const Process& p) {
      if (is_set_at_once(p)) return Program();
      auto program = key_owners(p);
      program.append(compile_descriptors(p, sources_, ::getpid()));
      if (in_user_namespace(p))
        program.append(
            compile_user_namespace(p, namespaces_[*p.namespaces], ::getpid(), compile_identity_outside(p)));
      return program;
    }));
    for (const auto& process : snapshot_.processes) {
      if (!in_user_namespace(process) || !has_threads(process)) continue;
      TRY(arena_->run(leader(process.pid), compile_common_filters(snapshot_, process)));
      TRY(make_numbered_threads(process, *tasks_.find(process.pid), *arena_));
    }
    return {};
  }

  Result<void> set_own_state() {
    std::map<pid_t, std::size_t> common_filters;
    for (const auto& process : snapshot_.processes)
      common_filters.emplace(process.pid, count_common_filters(process));
    OwnStateSetter setter(snapshot_, tasks_, keys_, *arena_);
    TRY(setter.set([&](const Process& process, const Thread& thread) {
      return own_state(process, thread, common_filters.at(process.pid));
    }));
    return setter.ask_the_rest();
  }

  Program own_state(const Process& process, const Thread& thread, std::size_t common_filters) const {
    Program program;
    if (thread.tid == process.pid && is_set_at_once(process)) {
      program = key_owners(process);
      program.append(compile_descriptors(process, sources_, ::getpid()));
    }
    const auto sets = own_sets_.find(thread.tid);
    if (sets != own_sets_.end()) program.append(compile_watches(snapshot_, sets->second));
    const auto own = listeners_.find(thread.tid);
    if (own != listeners_.end()) program.append(compile_listening(own->second, true));
    program.append(compile_own_state(snapshot_, process, thread,
                                     {timer_ids_, in_user_namespace(process), &inherited_, common_filters}));
    if (own != listeners_.end()) program.append(compile_listening(own->second, false));
    return program;
  }

  Result<void> finish_tasks() {
    std::vector<Unfinished> unfinished;
    for (const auto& process : snapshot_.processes) {
      if (!process.exit_status) unfinished.push_back({&process, &tasks_.find(process.pid)->threads});
    }
    return finish(unfinished, *arena_);
  }

  // In the order in which they come into being; where it fails they go the other way around.
  const Snapshot& snapshot_;
  std::string pages_;
  bool jobs_are_stopped_;
  bool timer_ids_ = false;
  Inherited inherited_;
  AllNamespaces namespaces_;
  os::ClockOffsets clocks_;
  os::UniqueFd page_file_;
  MemorySources memory_sources_;
  CommonMemory common_memory_;
  std::map<pid_t, Program> compiled_ahead_;
  MadeKeys keys_;
  NewTasks tasks_;
  Births births_;
  std::optional<CallArena> arena_;
  std::optional<Helper> helper_;
  std::optional<MadeIpcObjects> ipc_objects_;
  std::optional<MadePosixQueues> queues_;
  std::optional<KeptFiles> kept_;
  OwnListeners listeners_;
  OpenedFiles opened_;
  OwnSets own_sets_;
  std::vector<int> sources_;  // descriptors of ours, one for each of Snapshot::files
};

}  // namespace

Result<NewTasks> rebuild(const Snapshot& snapshot, const std::string& pages) {
  return Builder(snapshot, pages).build();
}

}  // namespace upkeep::engine
