#pragma once
// Memory copied while its owner runs, so that little is left to copy when it stands still. The kernel tells
// which pages were written since: soft-dirty bits (Documentation/admin-guide/mm/soft-dirty.rst, Linux 3.11,
// where it is built with CONFIG_MEM_SOFT_DIRTY). Whoever else uses them on the same processes (criu's
// pre-dump) spoils it.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "common/result.h"
#include "engine/inspect/memory/own_pages.h"
#include "engine/inspect/memory/page_request.h"
#include "engine/model/memory/address_space.h"
#include "os/pagemap.h"

namespace upkeep::engine {

class PagesAhead {
 public:
  // Whether this kernel tells about writes: found by making one.
  static bool possible();

  // Hands the pages of PID that have contents of their own to SINK, and remembers where they went. Nothing is
  // stopped. Pages that go away meanwhile are left out. Returns how many bytes were copied.
  Result<std::uint64_t> copy(pid_t pid, const PageSink& sink);

  // RANGE of the stopped process PID as parts: those that are as they were copied, and the rest.
  struct Part {
    os::PageRange range;
    std::optional<std::uint64_t> copied_to;  // position of the contents
  };
  Result<std::vector<Part>> divide(pid_t pid, os::Fd pagemap, const os::PageRange& range) const;

 private:
  struct Copied {
    std::uint64_t start_time = 0;  // tells the process from a later one with the same ID
    std::vector<PageRun> runs;     // ascending
  };
  const Copied* copied(pid_t pid) const;
  std::map<pid_t, Copied> processes_;
};

}  // namespace upkeep::engine
