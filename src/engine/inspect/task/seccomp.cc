#include "engine/inspect/task/seccomp.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstring>

namespace upkeep::engine {
namespace {

// A filter that may ask a supervisor for its decision has one, or answers ENOSYS: nobody tells which.
bool may_notify(const Bytes& instructions) {
  for (std::size_t at = 0; at + sizeof(sock_filter) <= instructions.data.size(); at += sizeof(sock_filter)) {
    sock_filter one = {};
    std::memcpy(&one, instructions.data.data() + at, sizeof one);
    if (BPF_CLASS(one.code) != BPF_RET) continue;
    if (BPF_RVAL(one.code) != BPF_K || (one.k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
      return true;
  }
  return false;
}

std::uint32_t keep_once(std::vector<SeccompFilter>& filters, SeccompFilter filter) {
  const auto found = std::find(filters.begin(), filters.end(), filter);
  const auto index = static_cast<std::uint32_t>(found - filters.begin());
  if (found == filters.end()) filters.push_back(std::move(filter));
  return index;
}

Result<void> read_filters(const os::Tracee& thread, Seccomp& seccomp, Snapshot& snapshot) {
  for (std::uint64_t number = 0;; ++number) {
    auto instructions = thread.seccomp_filter(number);
    if (!instructions && instructions.error().code() == ENOENT) return {};
    if (!instructions) return tl::unexpected(std::move(instructions).error());
    TRY_ASSIGN(const auto flags, thread.seccomp_flags(number));
    SeccompFilter filter{{std::move(*instructions)}, (flags & SECCOMP_FILTER_FLAG_LOG) != 0};
    if (may_notify(filter.instructions))
      snapshot.obstacles.push_back(
          {thread.tid(), fmt::format("seccomp filter {}", number),
           "it may ask a supervisor (SECCOMP_RET_USER_NOTIF), whose descriptor cannot "
           "be made again",
           ""});
    seccomp.filters.push_back(keep_once(snapshot.seccomp_filters, std::move(filter)));
  }
}

}  // namespace

Result<void> read_seccomp(const HeldProcess& held, Process& process, Snapshot& snapshot) {
  for (std::size_t i = 0; i < held.threads.size(); ++i) {
    const auto& tracee = held.threads[i].tracee;
    auto& seccomp = process.threads[i].seccomp;
    if (tracee.dispatches_system_calls())
      snapshot.obstacles.push_back({tracee.tid(), "system calls that are dispatched to the program",
                                    "PR_SET_SYSCALL_USER_DISPATCH is not rebuilt by this version", ""});
    if (seccomp.mode == SECCOMP_MODE_FILTER) TRY(read_filters(tracee, seccomp, snapshot));
  }
  return {};
}

}  // namespace upkeep::engine
