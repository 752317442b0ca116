#include "engine/rebuild/task/roll_call.h"

#include <asm/prctl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "engine/rebuild/calls/call_arena.h"
#include "os/protection_keys.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

constexpr std::size_t kLongest = 512;  // what keyctl(2) says about a key

GuestCall control(int option, std::uint64_t argument = 0) {
  return {SYS_prctl, {static_cast<std::uint64_t>(option), argument}};
}
GuestCall about_key(int what, std::int32_t key, std::uint64_t place = 0, std::uint64_t room = 0) {
  return {SYS_keyctl,
          {static_cast<std::uint64_t>(what), static_cast<std::uint64_t>(std::int64_t{key}), place, room}};
}
GuestCall description_of(std::int32_t key) { return about_key(KEYCTL_DESCRIBE, key, kAnswerPlace, kLongest); }
GuestCall payload_of(std::int32_t key) { return about_key(KEYCTL_READ, key, kAnswerPlace, kLongest); }
GuestCall serial_of(std::int32_t special) { return about_key(KEYCTL_GET_KEYRING_ID, special); }

std::optional<std::int32_t> session_keyring(pid_t tid, const KnownAnswers& answers) {
  CallAnswer serial;
  if (!answers.find(tid, serial_of(KEY_SPEC_SESSION_KEYRING), serial) || serial.returned <= 0)
    return std::nullopt;
  return static_cast<std::int32_t>(serial.returned);
}

}  // namespace

void RollCall::ask(const GuestCall& call, Program& program, std::size_t room) {
  Asked asked{call, program.calls().size()};
  Arguments arguments;
  for (const auto value : call.arguments) {
    if (value != kAnswerPlace) {
      arguments.add(value);
      continue;
    }
    const auto place = program.room(room);
    asked.data = place.offset, asked.room = room;
    arguments.add(place);
  }
  program.try_call(call.number, arguments);
  asked_.push_back(asked);
}

void RollCall::ask_thread(Program& program) {
  ask({SYS_sigaltstack, {0, kAnswerPlace}}, program);
  for (const int option : {PR_GET_TID_ADDRESS, PR_GET_PDEATHSIG, PR_GET_TSC})
    ask(control(option, kAnswerPlace), program);
  for (const int option : {PR_GET_SECUREBITS, PR_MCE_KILL_GET, PR_GET_IO_FLUSHER, PR_GET_TIMERSLACK})
    ask(control(option), program);
  for (const int kind : {PR_SPEC_STORE_BYPASS, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_L1D_FLUSH})
    ask(control(PR_GET_SPECULATION_CTRL, static_cast<std::uint64_t>(kind)), program);
  ask(serial_of(KEY_SPEC_THREAD_KEYRING), program);
  ask(serial_of(KEY_SPEC_PROCESS_KEYRING), program);
}

void RollCall::ask_process(const Process& process, Program& program) {
  const auto& state = *process.stopped;
  for (std::uint64_t signal = 1; signal <= state.actions.size(); ++signal) {
    const auto& action = state.actions[signal - 1];
    if (action.handler != 0 || action.flags != 0 || signal == SIGCHLD)
      ask({SYS_rt_sigaction, {signal, 0, kAnswerPlace, sizeof(std::uint64_t)}}, program);
  }
  for (std::uint64_t which = 0; which < state.interval_timers.size(); ++which)
    ask({SYS_getitimer, {which, kAnswerPlace}}, program);
  for (const auto& timer : state.posix_timers) {
    const auto id = static_cast<std::uint64_t>(timer.id);
    ask({SYS_timer_gettime, {id, kAnswerPlace}}, program);
    ask({SYS_timer_getoverrun, {id}}, program);
  }
  ask({SYS_brk, {}}, program);
  ask(control(PR_GET_CHILD_SUBREAPER, kAnswerPlace), program);
  for (const int option : {PR_GET_DUMPABLE, PR_GET_THP_DISABLE, os::kPrGetMdwe, os::kPrGetMemoryMerge})
    ask(control(option), program);
  ask({SYS_arch_prctl, {os::kArchGetXcompPerm, kAnswerPlace}}, program);
  ask({SYS_arch_prctl, {ARCH_GET_CPUID}}, program);
  ask({SYS_arch_prctl, {os::kArchGetUntagMask, kAnswerPlace}}, program);
  const auto& mappings = process.memory.mappings;
  if (os::has_protection_keys() && !mappings.empty() && mappings.front().start >= kPage)
    ask({SYS_pkey_mprotect, {mappings.front().start - kPage, kPage, 0, 1}}, program);
}

void RollCall::ask_keyring(Program& program) {
  ask(serial_of(KEY_SPEC_SESSION_KEYRING), program);
  ask(description_of(KEY_SPEC_SESSION_KEYRING), program, kLongest);
  ask(payload_of(KEY_SPEC_SESSION_KEYRING), program, kLongest);
}

void RollCall::ask_key(std::int32_t serial, Program& program) {
  ask(description_of(serial), program, kLongest);
  ask(payload_of(serial), program, kLongest);
}

void RollCall::take(pid_t tid, const Program& program, std::span<const std::byte> placed,
                    KnownAnswers& answers) const {
  const auto data = program.calls().size() * sizeof(PlacedCall);
  std::optional<std::int32_t> session;
  for (const auto& asked : asked_) {
    auto call = asked.call;
    // Later it is asked about by its number.
    const bool about_session = call.number == SYS_keyctl && call.arguments[0] != KEYCTL_GET_KEYRING_ID &&
                               call.arguments[1] == serial_of(KEY_SPEC_SESSION_KEYRING).arguments[1];
    if (about_session) {
      if (!session) session = session_keyring(tid, answers);
      if (!session) continue;
      call.arguments[1] = static_cast<std::uint64_t>(std::int64_t{*session});
    }
    answers.add(tid, call, {result_of(placed, asked.index), placed.subspan(data + asked.data, asked.room)});
  }
}

std::vector<std::int32_t> known_keys(pid_t tid, const KnownAnswers& answers) {
  std::vector<std::int32_t> keys;
  CallAnswer payload;
  const auto keyring = session_keyring(tid, answers);
  if (!keyring || !answers.find(tid, payload_of(*keyring), payload)) return keys;
  const auto size = static_cast<std::size_t>(std::max<long>(payload.returned, 0));
  if (size > payload.written.size()) return keys;
  keys.resize(size / sizeof(std::int32_t));
  std::memcpy(keys.data(), payload.written.data(), keys.size() * sizeof(std::int32_t));
  return keys;
}

}  // namespace upkeep::engine
