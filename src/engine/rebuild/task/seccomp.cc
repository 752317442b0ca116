#include "engine/rebuild/task/seccomp.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <algorithm>
#include <span>

namespace upkeep::engine {
namespace {

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

}  // namespace

std::size_t count_common_filters(const Process& process) {
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

Program compile_common_filters(const Snapshot& snapshot, const Process& process) {
  Program program;
  const auto common = count_common_filters(process);
  for (std::size_t i = 0; i < common; ++i)
    add_filter(program, snapshot.seccomp_filters[process.threads.front().seccomp.filters[i]]);
  return program;
}

Program compile_filters(const Snapshot& snapshot, const Thread& thread, std::size_t common) {
  Program program;
  for (auto i = common; i < thread.seccomp.filters.size(); ++i)
    add_filter(program, snapshot.seccomp_filters[thread.seccomp.filters[i]]);
  if (thread.seccomp.mode == SECCOMP_MODE_STRICT) program.call(SYS_seccomp, {SECCOMP_SET_MODE_STRICT, 0, 0});
  return program;
}

}  // namespace upkeep::engine
