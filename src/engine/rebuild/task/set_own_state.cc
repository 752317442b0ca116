#include "engine/rebuild/task/set_own_state.h"

#include <algorithm>
#include <span>

namespace upkeep::engine {
namespace {

// To ignore a signal, as leaders do for all, takes away those that are pending in other threads: then the
// leader comes first. Else it comes last, and says at once what all threads of it have a part in.
bool leader_is_first(const Process& process) {
  return std::any_of(process.threads.begin() + 1, process.threads.end(),
                     [](const Thread& thread) { return !thread.stopped->pending.empty(); });
}

}  // namespace

Result<void> OwnStateSetter::set_leaders(bool first, const Compile& compile) {
  for (const auto& process : snapshot_.processes) {
    if (process.exit_status || leader_is_first(process) != first) continue;
    RollCall call;
    auto program = compile(process, process.threads.front());
    call.ask_thread(program);
    call.ask_keyring(program);
    if (!first) call.ask_process(process, program);
    ask_made_keys(process, call, program);
    TRY(add_job(thread(process, 0), std::move(program), std::move(call)));
  }
  return arena_.finish_all();
}

Result<void> OwnStateSetter::set(const Compile& compile) {
  TRY(set_leaders(true, compile));
  for (const auto& process : snapshot_.processes) {
    for (std::size_t i = 1; i < process.threads.size(); ++i) {
      RollCall call;
      auto program = compile(process, process.threads[i]);
      call.ask_thread(program);
      TRY(add_job(thread(process, i), std::move(program), std::move(call)));
    }
  }
  TRY(arena_.finish_all());
  return set_leaders(false, compile);
}

// Where all keys of its keyring are its own, so that their numbers are known already.
void OwnStateSetter::ask_made_keys(const Process& process, RollCall& call, Program& program) {
  const auto made = keys_.find(process.pid);
  if (made == keys_.end()) return;
  const auto keyring = *process.stopped->keyring;
  if (made->second.size() != snapshot_.keyrings[keyring].keys.size()) return;
  if (!asked_keyrings_.insert(keyring).second) return;
  for (const auto key : made->second) call.ask_key(static_cast<std::int32_t>(key), program);
}

Result<void> OwnStateSetter::ask_the_rest() {
  for (const auto& process : snapshot_.processes) {
    if (process.exit_status) continue;
    RollCall call;
    Program program;
    if (leader_is_first(process)) call.ask_process(process, program);
    const auto& keyring = process.stopped->keyring;
    if (keyring && asked_keyrings_.insert(*keyring).second) {
      for (const auto key : known_keys(process.pid, tasks_.answers())) call.ask_key(key, program);
    }
    if (!call.empty()) TRY(add_job(thread(process, 0), std::move(program), std::move(call)));
  }
  return arena_.finish_all();
}

// The answers to CALL are put into the tasks.
Result<void> OwnStateSetter::add_job(const os::Tracee& task, Program program, RollCall call) {
  auto keep = [this, tid = task.tid(), call = std::move(call)](const Program& run,
                                                               std::span<const std::byte> placed) {
    call.take(tid, run, placed, tasks_.answers());
  };
  return arena_.add({&task, std::move(program), std::move(keep)});
}

}  // namespace upkeep::engine
