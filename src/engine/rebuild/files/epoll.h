#pragma once
// Entries of epoll sets. The kernel knows an entry by the file and by the number that it had when it was
// added: the number may have been closed or reused since.

#include <functional>
#include <map>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"
#include "os/fd.h"

namespace upkeep::engine {

Result<os::UniqueFd> make_epoll();  // an empty set

// Sets whose entries a process adds itself, by its PID: it has the set open, and everything in it under the
// numbers that it was added with. The others are most often those that several processes have made up, and
// those with entries for descriptors that are closed. MAY: whether a process is one to be asked.
struct OwnSet {
  std::int32_t fd = 0;
  std::uint32_t file = 0;  // index into Snapshot::files
};
using OwnSets = std::map<std::int32_t, std::vector<OwnSet>>;
OwnSets find_own_sets(const Snapshot& snapshot, const std::function<bool(const Process&)>& may);
// In that process, when its descriptors are there.
Program compile_watches(const Snapshot& snapshot, const std::vector<OwnSet>& sets);

// All that are not in OWN. FILES: one descriptor for each of Snapshot::files. Entries are added from a table
// of descriptors of its own, where every number can be taken.
Result<void> add_watches(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files,
                         const OwnSets& own);

// The kernel's bits for how an entry is reported; one that has no others is disabled (EPOLLONESHOT).
inline constexpr std::uint32_t kEpollHow = 0xf0000000;

}  // namespace upkeep::engine
