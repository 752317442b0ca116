#pragma once
// Entries of epoll sets. The kernel knows an entry by the file and by the number that it had when it was
// added: the number may have been closed or reused since.

#include <vector>

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::native {

// FILES: one descriptor for each of Snapshot::files. Entries are added from a table of descriptors of its
// own, where every number can be taken.
Result<void> add_watches(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files);

// The kernel's bits for how an entry is reported; one that has no others is disabled (EPOLLONESHOT).
inline constexpr std::uint32_t kEpollHow = 0xf0000000;

}  // namespace upkeep::native
