// Filters of system calls, of which none is in force while the tasks are being made: the tracer has suspended
// them. Keys. Settings of prctl(2).

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sys/syscall.h>

#include <algorithm>

#include "engine/rebuild/compile.h"
#include "engine/tree/inner_ids.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

// Those that all threads of a process begin with. Made before the threads are, they are the same objects for
// all of them, as SECCOMP_FILTER_FLAG_TSYNC asks.
std::size_t count_common(const Process& process) {
  if (process.threads.size() < 2 || process.threads.front().seccomp.filters.empty()) return 0;
  const auto& first = process.threads.front().seccomp.filters;
  std::size_t common = first.size();
  for (const auto& thread : process.threads) {
    const auto& filters = thread.seccomp.filters;
    const auto [differs, unused] = std::mismatch(first.begin(), first.end(), filters.begin(), filters.end());
    common = std::min(common, static_cast<std::size_t>(differs - first.begin()));
  }
  return common;
}

void add_filter(Program& program, const SeccompFilter& filter) {
  const auto instructions = program.bytes(std::as_bytes(std::span(filter.instructions.data)));
  sock_fprog wanted = {};
  wanted.len = static_cast<unsigned short>(filter.instructions.data.size() / sizeof(sock_filter));
  const auto place = program.value(wanted);
  program.pointer(place, offsetof(sock_fprog, filter), instructions);
  // What a filter does to speculation is a setting of the thread by now, and put back as such.
  const auto flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW | (filter.log ? SECCOMP_FILTER_FLAG_LOG : 0);
  program.call(SYS_seccomp, {SECCOMP_SET_MODE_FILTER, flags, place});
}

// The keyring that all processes of a user have belongs to whoever asks for it.
void link_user_keyring(Program& program, std::uint32_t uid) {
  constexpr std::uint32_t kSame = ~0U;
  if (uid != 0) program.call(SYS_prctl, {PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0});
  if (uid != 0) program.call(SYS_setresuid, {uid, kSame, kSame});
  program.call(SYS_keyctl, {KEYCTL_LINK, KEY_SPEC_USER_KEYRING, KEY_SPEC_SESSION_KEYRING});
  if (uid != 0) program.call(SYS_setresuid, {0, kSame, kSame});
  if (uid != 0) program.call(SYS_prctl, {PR_SET_SECUREBITS, 0, 0, 0, 0});
}

void set_speculation(Program& program, int kind, std::uint32_t state) {
  if ((state & PR_SPEC_PRCTL) == 0) return;  // not a matter of the thread
  const auto wanted = state & ~static_cast<std::uint32_t>(PR_SPEC_PRCTL);
  // Another kernel or processor may leave no choice; it is then as safe or safer.
  if (wanted != PR_SPEC_ENABLE) program.try_call(SYS_prctl, {PR_SET_SPECULATION_CTRL, kind, wanted, 0, 0});
}

}  // namespace

Program compile_join(const Keyring& keyring) {
  Program program;
  const bool named = keyring.name != "_ses";
  if (named)
    program.call(SYS_keyctl, {KEYCTL_JOIN_SESSION_KEYRING, program.text(keyring.name)});
  else
    program.call(SYS_keyctl, {KEYCTL_JOIN_SESSION_KEYRING, 0});
  return program;
}

Program compile_keys(const Keyring& keyring) {
  Program program;
  for (const auto& key : keyring.keys) {
    if (key.type == "keyring") {
      link_user_keyring(program, key.uid);
      continue;
    }
    program.call(SYS_add_key, {program.text(key.type), program.text(key.description),
                               program.bytes(std::as_bytes(std::span(key.payload.data))),
                               key.payload.data.size(), KEY_SPEC_SESSION_KEYRING});
  }
  return program;
}

Program compile_key_owners(const Keyring& keyring, const std::vector<std::int64_t>& serials) {
  Program program;
  auto settle = [&program](std::int64_t serial, std::uint32_t uid, std::uint32_t gid,
                           std::uint32_t permissions) {
    program.call(SYS_keyctl, {KEYCTL_CHOWN, serial, uid, gid});
    program.call(SYS_keyctl, {KEYCTL_SETPERM, serial, permissions});
  };
  std::size_t next = 0;
  for (const auto& key : keyring.keys) {
    if (key.type != "keyring" && next < serials.size())
      settle(serials[next++], key.uid, key.gid, key.permissions);
  }
  settle(KEY_SPEC_SESSION_KEYRING, keyring.uid, keyring.gid, keyring.permissions);
  return program;
}

Program compile_login(const Process& process) {
  Program program;
  const auto text = std::to_string(process.login_uid);
  // The lowest that is free: the restorer has 0 in a PID namespace (open_restorer()).
  const int fd = depth_of(process) == 0 ? 0 : 1;
  program.call(SYS_open, {program.text("/proc/self/loginuid"), O_WRONLY});
  program.call(SYS_write, {fd, program.text(text), text.size()});
  program.call(SYS_close, {fd});
  return program;
}

Program compile_settings(const Thread& thread) {
  Program program;
  const auto& settings = thread.stopped->settings;
  set_speculation(program, PR_SPEC_STORE_BYPASS, settings.store_bypass);
  set_speculation(program, PR_SPEC_INDIRECT_BRANCH, settings.indirect_branch);
  set_speculation(program, PR_SPEC_L1D_FLUSH, settings.l1d_flush);
  if (settings.tsc == PR_TSC_SIGSEGV) program.call(SYS_prctl, {PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0});
  if (settings.mce_kill != PR_MCE_KILL_DEFAULT)
    program.call(SYS_prctl, {PR_MCE_KILL, PR_MCE_KILL_SET, settings.mce_kill, 0, 0});
  if (settings.io_flusher) program.call(SYS_prctl, {PR_SET_IO_FLUSHER, 1, 0, 0, 0});
  return program;
}

Program compile_process_settings(const Process& process) {
  Program program;
  const auto& state = *process.stopped;
  if (state.memory_deny_write_execute != 0)
    program.call(SYS_prctl, {os::kPrSetMdwe, state.memory_deny_write_execute, 0, 0, 0});
  if (state.memory_merge) program.call(SYS_prctl, {os::kPrSetMemoryMerge, 1, 0, 0, 0});
  return program;
}

Program compile_common_filters(const Snapshot& snapshot, const Process& process) {
  Program program;
  const auto common = count_common(process);
  for (std::size_t i = 0; i < common; ++i)
    add_filter(program, snapshot.seccomp_filters[process.threads.front().seccomp.filters[i]]);
  return program;
}

Program compile_filters(const Snapshot& snapshot, const Process& process, const Thread& thread) {
  Program program;
  for (auto i = count_common(process); i < thread.seccomp.filters.size(); ++i)
    add_filter(program, snapshot.seccomp_filters[thread.seccomp.filters[i]]);
  if (thread.seccomp.mode == SECCOMP_MODE_STRICT) program.call(SYS_seccomp, {SECCOMP_SET_MODE_STRICT, 0, 0});
  return program;
}

}  // namespace upkeep::engine
