#include "engine/inspect/files/pidfd.h"

#include <charconv>

#include "engine/inspect/calls/proc_text.h"
#include "os/procfs.h"

namespace upkeep::engine {

// "Pid:\t1234"; -1: it has ended and been waited for.
Result<std::vector<std::string>> read_pidfd(const DescriptorFacts& facts, PidFile& pidfd) {
  const auto text = value_of(facts.info, "Pid");
  if (!text) return Err("its fdinfo names no process");
  std::int32_t pid = 0;
  (void)std::from_chars(text->data(), text->data() + text->size(), pid);
  if (pid == 0)
    return std::vector<std::string>{"its process belongs to a PID namespace that is not seen from here"};
  auto stat = pid < 0 ? Result<os::ProcStat>(Err("ended")) : os::read_stat(pid);
  if (stat) pidfd = {pid, stat->start_time};
  return std::vector<std::string>();
}

}  // namespace upkeep::engine
