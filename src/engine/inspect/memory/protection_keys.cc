#include "engine/inspect/memory/protection_keys.h"

#include <sys/syscall.h>

#include <algorithm>

#include "engine/inspect/calls/guest_calls.h"
#include "engine/tree/answers.h"
#include "os/protection_keys.h"

namespace upkeep::engine {
namespace {

constexpr std::size_t kStackPointer = 19;  // in user_regs_struct

GuestCall use_of(std::uint32_t key, const AddressSpace& memory) {
  const auto first = memory.mappings.empty() ? 0 : memory.mappings.front().start;
  const auto nowhere = first >= kPage ? first - kPage : kHighestAddress;
  return {SYS_pkey_mprotect, {nowhere, kPage, 0, key}};
}

Result<void> note(std::uint32_t key, long answer, AddressSpace& memory) {
  if (answer == -ENOMEM) memory.protection_keys |= 1U << key;
  if (answer == -ENOMEM || answer == -EINVAL) return {};
  return Err("pkey_mprotect with key {} in the task: {}", key,
             answer < 0 ? errno_text(static_cast<int>(-answer)) : "it has found memory");
}

// That it has more keys than the first one, or may have: a new key is one that the thread which allocates it
// may use, and the lowest that is free. (What does not show is one that it has allocated without any right to
// it, for no memory, after which it has given back all lower ones.)
bool shows_keys(const Process& process) {
  const auto& memory = process.memory;
  const auto usual = os::own_key_rights();
  return memory.has_allocated(1) ||
         std::ranges::any_of(memory.mappings, [](const auto& m) { return m.protection_key != 0; }) ||
         std::ranges::any_of(process.threads, [&](const Thread& thread) {
           return thread.stopped && os::key_rights(thread.stopped->registers.xstate.data) != usual;
         });
}

void look_at_keys(const Process& process, std::vector<Obstacle>& obstacles) {
  const auto& memory = process.memory;
  const auto execute_only = memory.execute_only_key();
  for (const auto& mapping : memory.mappings) {
    const auto key = mapping.protection_key;
    if (key == 0 || memory.has_allocated(key) || (mapping.execute_only() && key == execute_only)) continue;
    obstacles.push_back({process.pid,
                         fmt::format("mapping {:x}-{:x} {}", mapping.start, mapping.end, mapping.name),
                         fmt::format("its protection key {} was given back while it had it", key), ""});
  }
}

}  // namespace

void ask_first_protection_key(Process& process, std::vector<GuestQuestion>& questions) {
  if (!os::has_protection_keys()) return;
  questions.push_back({nullptr, use_of(1, process.memory), [&process](const GuestAnswer& answer) {
                         return note(1, answer.returned(), process.memory);
                       }});
}

Result<void> read_protection_keys(ThreadCalls& calls, Process& process, std::vector<Obstacle>& obstacles) {
  if (!os::has_protection_keys()) return {};
  auto& memory = process.memory;
  if (!shows_keys(process)) {
    memory.protection_keys = 1;
    return {};
  }
  for (std::uint32_t key = 0; key < os::kProtectionKeys; ++key) {
    TRY_ASSIGN(const auto answer, calls.call(use_of(key, memory)));
    TRY(note(key, answer.returned(), memory));
  }
  look_at_keys(process, obstacles);
  return {};
}

bool may_run_calls(const Process& process, const Thread& thread, const GuestCode& code,
                   std::vector<Obstacle>& obstacles) {
  if (!os::has_protection_keys() || !thread.stopped) return true;
  constexpr std::uint32_t kOfKeyZero = 3;
  if ((os::key_rights(thread.stopped->registers.xstate.data) & kOfKeyZero) != 0) {
    obstacles.push_back({thread.tid, "protection keys",
                         "it may not use memory that has none, and system calls cannot be run in it",
                         "try again"});
    return false;
  }
  const auto range = code.frame_range(thread.stopped->registers.general[kStackPointer]);
  for (const auto& mapping : process.memory.mappings) {
    if (mapping.protection_key == 0 || mapping.start >= range.end || mapping.end <= range.start) continue;
    obstacles.push_back({thread.tid, fmt::format("stack {:x}-{:x}", mapping.start, mapping.end),
                         fmt::format("it has protection key {}, and system calls cannot be run there",
                                     mapping.protection_key),
                         ""});
    return false;
  }
  return true;
}

}  // namespace upkeep::engine
