#include "engine/inspect/memory/memory_locks.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>

#include "engine/inspect/calls/proc_text.h"
#include "os/file.h"

namespace upkeep::engine {

// Looked for only where something is locked at all.
Result<std::uint32_t> read_future_locks(ThreadCalls& calls, const Process& process) {
  const auto& mappings = process.memory.mappings;
  if (std::none_of(mappings.begin(), mappings.end(), [](const auto& m) { return m.has_flag("lo"); }))
    return 0U;
  TRY_ASSIGN(
      const auto mapped,
      calls.call(
          {SYS_mmap, {0, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, static_cast<std::uint64_t>(-1), 0}}));
  const long page = mapped.returned();
  if (page == -EAGAIN) return MCL_FUTURE;  // as much as may be locked is locked
  if (page < 0) return Err("mmap in the task: {}", errno_text(static_cast<int>(-page)));
  const auto address = static_cast<std::uint64_t>(page);
  const auto text = os::read_file(fmt::format("/proc/{}/smaps", process.pid));
  TRY_ASSIGN(const auto unmapped, calls.call({SYS_munmap, {address, kPage}}));
  if (unmapped.returned() < 0)
    return Err("munmap in the task: {}", errno_text(static_cast<int>(-unmapped.returned())));
  if (!text) return tl::unexpected(text.error());
  TRY_ASSIGN(const auto now, parse_smaps(*text));
  const auto found = std::find_if(now.begin(), now.end(),
                                  [&](const auto& m) { return m.start <= address && address < m.end; });
  if (found == now.end() || !found->has_flag("lo")) return 0U;
  return static_cast<std::uint32_t>(MCL_FUTURE | (found->has_flag("lf") ? MCL_ONFAULT : 0));
}

}  // namespace upkeep::engine
