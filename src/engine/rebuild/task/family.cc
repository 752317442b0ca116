#include "engine/rebuild/task/family.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "engine/rebuild/task/births.h"
#include "engine/rebuild/task/keyrings.h"
#include "engine/rebuild/task/process_groups.h"
#include "engine/rebuild/task/stand_ins.h"
#include "engine/tree/inner_ids.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

// Children of stand-ins that have no adopter in the tree become ours.
class AdoptingOrphans {
 public:
  AdoptingOrphans() {
    ::prctl(PR_GET_CHILD_SUBREAPER, &before_);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  AdoptingOrphans(const AdoptingOrphans&) = delete;
  ~AdoptingOrphans() { ::prctl(PR_SET_CHILD_SUBREAPER, before_); }

 private:
  int before_ = 0;
};

// In its PID namespaces too.
std::set<std::int32_t> ids_of(const Snapshot& snapshot, const Births& births) {
  auto ids = needed_ids(snapshot, births);
  for (const auto& process : snapshot.processes) {
    for (const auto* inner : {&process.inner_pids, &process.inner_pgrps, &process.inner_sessions})
      ids.insert(inner->begin(), inner->end());
    for (const auto& thread : process.threads) ids.insert(thread.inner_tids.begin(), thread.inner_tids.end());
  }
  return ids;
}

// What lives where MAKER does, of an ID that goes further inside.
std::vector<std::int32_t> ids_beside(const Process* maker, std::int32_t outer,
                                     std::vector<std::int32_t> inner) {
  inner.resize(std::min(inner.size(), maker == nullptr ? 0 : depth_of(*maker)));
  return wanted_ids(outer, inner);
}

}  // namespace

Family::Family(const Snapshot& snapshot, const Births& births, NewTasks& tasks, CallArena& arena,
               unsigned long options)
    : snapshot_(snapshot),
      births_(births),
      tasks_(tasks),
      arena_(arena),
      options_(options),
      common_keyrings_(keyrings_of_many_roots(snapshot, births)) {}

CallArena::NewTask Family::taker() {
  return [this](os::Tracee task) -> Result<void> {
    NewProcess made{task.tid(), {}};
    made.threads.push_back(std::move(task));
    (snapshot_.find(made.pid) != nullptr ? tasks_ : stand_ins_).add(std::move(made));
    return {};
  };
}

const os::Tracee& Family::first_thread(const Process& process) {
  return tasks_.find(process.pid)->threads.front();
}
const os::Tracee& Family::stand_in(std::int32_t id) { return stand_ins_.find(id)->threads.front(); }

Result<void> Family::make(const TerminalSources& terminals, BeforeChildren before_children) {
  before_children_ = std::move(before_children);
  const AdoptingOrphans while_there_are_stand_ins;
  for (const auto& step : births_.steps) {
    const auto* birth = std::get_if<Birth>(&step);
    // What the childless do is done beside each other.
    if (birth != nullptr && birth->before_setsid.empty() && birth->after_setsid.empty()) {
      TRY(arena_.add(prepare(*birth, terminals)));
      continue;
    }
    TRY(arena_.finish_all());
    if (birth != nullptr)
      TRY(make(*birth, terminals));
    else
      TRY(make(std::get<StandIn>(step)));
  }
  TRY(arena_.finish_all());
  for (const auto& group : births_.lost_groups) {
    TRY(arena_.run(first_thread(*group.maker),
                   compile_stand_in_birth(ids_beside(group.maker, group.id, group.maker->inner_pgrps), true),
                   taker()));
    TRY(arena_.run(stand_in(group.id), compile_own_group()));
  }
  TRY(set_groups());
  TRY(set_terminals(terminals));
  for (const auto& group : births_.lost_groups)
    TRY(end_stand_in(ids_beside(group.maker, group.id, group.maker->inner_pgrps), group.maker));
  return {};
}

// What it has to do by itself, where that is anything.
CallArena::Job Family::prepare(const Birth& birth, const TerminalSources& terminals, std::uint64_t flags) {
  const auto& process = *birth.process;
  auto program = process.exit_status ? Program() : keyring_program(process);
  program.append(before_children_(process));
  program.append(compile_birth(birth, terminals, flags));
  CallArena::Job job = {&first_thread(process), std::move(program)};
  const auto keys = keys_.find(process.pid);
  if (keys != keys_.end()) {
    job.when_through = [&serials = keys->second](const Program& run, std::span<const std::byte> placed) {
      for (std::size_t i = 0; i < run.calls().size(); ++i) {
        if (run.calls()[i].number == SYS_add_key) serials.push_back(result_of(placed, i));
      }
    };
  }
  return job;
}

Result<void> Family::make(const Birth& birth, const TerminalSources& terminals) {
  constexpr std::size_t kMany = 8;
  const auto children = birth.children();
  const bool beside_it = std::ranges::none_of(
      children, [&](const Process* child) { return enters_namespace(*birth.process, *child); });
  if (children.size() >= kMany && beside_it) return make_many(birth, terminals);
  return arena_.run(prepare(birth, terminals), taker());
}

// They come to be traced without a stop of their maker's for each.
Result<void> Family::make_many(const Birth& birth, const TerminalSources& terminals) {
  const auto pid = birth.process->pid;
  TRY(first_thread(*birth.process).set_options(options_ & ~os::Tracee::kFollowNewTasks));
  const auto made = arena_.run(prepare(birth, terminals, CLONE_PTRACE), {});
  std::set<std::int32_t> there;
  if (!made) {
    TRY_ASSIGN(const auto pids, os::process_tree(pid));
    there.insert(pids.begin(), pids.end());
  }
  const auto take = taker();
  Result<void> taken;
  for (const auto* child : birth.children()) {
    if (!made && !there.contains(child->pid)) continue;
    auto task = os::Tracee::adopt(child->pid);
    if (taken) taken = task.wait_first_stop();
    if (taken) taken = task.set_options(options_);
    TRY(take(std::move(task)));  // in any case: it is to be ended with the others
  }
  TRY(made);
  TRY(std::move(taken));
  return first_thread(*birth.process).set_options(options_);
}

Result<void> Family::make(const StandIn& wanted) {
  TRY_ASSIGN(const auto ids, make_stand_in(wanted));
  TRY(arena_.run(stand_in(ids.back()), compile_stand_in(wanted), taker()));
  if (wanted.adopter != nullptr) TRY(arena_.run(first_thread(*wanted.adopter), compile_adoption(true)));
  TRY(end_stand_in(ids, wanted.maker));
  if (wanted.adopter != nullptr) TRY(arena_.run(first_thread(*wanted.adopter), compile_adoption(false)));
  return {};
}

Result<Family::Ids> Family::make_stand_in(const StandIn& wanted) {
  if (!wanted.leads) return make_stand_in_with_any_id(*wanted.maker);
  const auto ids = ids_beside(wanted.maker, wanted.session, wanted.children.front()->inner_sessions);
  if (wanted.maker != nullptr)
    TRY(arena_.run(first_thread(*wanted.maker), compile_stand_in_birth(ids, true), taker()));
  return ids;  // else the helper has made it
}

// None that the tree needs later; above those, where the next ones are free.
Result<Family::Ids> Family::make_stand_in_with_any_id(const Process& maker) {
  constexpr int kTries = 1000;
  constexpr std::int32_t kFirst = 300;  // RESERVED_PIDS of kernel/pid.c
  if (needed_ids_.empty()) {
    needed_ids_ = ids_of(snapshot_, births_);
    next_id_ = *needed_ids_.rbegin() + 1;
  }
  for (int tries = 0; tries < kTries; ++tries) {
    while (needed_ids_.contains(next_id_)) ++next_id_;
    const auto id = next_id_++;
    const Ids ids(depth_of(maker) + 1, id);  // the same in all namespaces
    TRY(arena_.run(first_thread(maker), compile_stand_in_birth(ids, false), taker()));
    const auto answer = arena_.result(0);
    if (answer == id) return ids;
    if (answer == -EINVAL) next_id_ = kFirst;  // there are no higher ones
    if (answer != -EEXIST && answer != -EINVAL)
      return Err("clone3 in task {}: {}", maker.pid, errno_text(static_cast<int>(-answer)));
  }
  return Err("no ID is free for a child of process {}", maker.pid);
}

// It leaves a zombie where its maker is not us.
Result<void> Family::end_stand_in(const Ids& ids, const Process* maker) {
  auto& threads = stand_ins_.find(ids.back())->threads;
  TRY(arena_.run_to_end(threads.front(), compile_stand_in_end()));
  threads.clear();
  if (maker == nullptr) return {};
  return arena_.run(first_thread(*maker), compile_reap(ids.front()));
}

// What is left to be run.
Program Family::keyring_program(const Process& process) {
  const auto& index = process.stopped->keyring;
  const auto* maker = births_.maker_of(process);
  const bool inherited = maker != nullptr && maker->stopped && maker->stopped->keyring == index;
  if (!index || inherited) return Program();
  const auto& keyring = snapshot_.keyrings[*index];
  const bool common = maker == nullptr && common_keyrings_.contains(*index);
  if (common && !filled_keyrings_.insert(*index).second) return Program();
  keys_.emplace(process.pid, std::vector<std::int64_t>());
  auto program = common ? Program() : compile_join(keyring);
  program.append(compile_keys(keyring));
  return program;
}

// A group is there as soon as its leader has made it, and as long as somebody is in it. That of the session
// all are born into.
Result<void> Family::set_groups() {
  const std::set<const Process*> leavers(births_.left_groups.begin(), births_.left_groups.end());
  std::vector<CallArena::Job> leaders, members, last;
  for (const auto& process : snapshot_.processes) {
    const bool leads = process.pgrp == process.pid || leavers.contains(&process);
    if (leads && process.pid != process.session)
      leaders.push_back({&first_thread(process), compile_own_group()});
    const bool is_there = process.pgrp == process.pid || process.pgrp == process.session;
    if (!is_there && !leavers.contains(&process))
      members.push_back({&first_thread(process), compile_group(process)});
  }
  for (const auto* leaver : leavers) last.push_back({&first_thread(*leaver), compile_group(*leaver)});
  for (auto* jobs : {&leaders, &members, &last}) TRY(arena_.run_all(std::move(*jobs)));
  return {};
}

Result<void> Family::set_terminals(const TerminalSources& terminals) {
  for (const auto& process : snapshot_.processes)
    TRY(arena_.run(first_thread(process), compile_terminal(process, snapshot_, terminals)));
  return {};
}

}  // namespace upkeep::engine
