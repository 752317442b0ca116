#include "engine/rebuild/task/clone.h"

#include <linux/sched.h>
#include <sys/syscall.h>

#include <span>

namespace upkeep::engine {

void clone_task(Program& program, std::uint64_t flags, std::int32_t exit_signal,
                const std::vector<std::int32_t>& ids, bool may_fail) {
  const auto wanted = program.bytes(std::as_bytes(std::span(ids)));
  clone_args arguments = {};
  arguments.flags = static_cast<__u64>(flags);
  arguments.exit_signal = static_cast<__u64>(exit_signal);
  arguments.set_tid_size = ids.size();
  const auto place = program.value(arguments);
  program.pointer(place, offsetof(clone_args, set_tid), wanted);
  if (may_fail)
    program.try_call(SYS_clone3, {place, sizeof arguments});
  else
    program.call(SYS_clone3, {place, sizeof arguments});
}

}  // namespace upkeep::engine
