#pragma once
// What the restorer is itself, which new tasks inherit; and what it sets for them by writing to files.

#include <cstdint>

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

bool has_filters(const Snapshot& snapshot);
// A session keyring of our own, which tasks that have none must not inherit.
bool has_keyring();
// The loginuid of audit. Where the kernel does not audit there is no such thing, and all ones in a snapshot.
std::uint32_t own_login();
bool kernel_takes_timer_ids();

// Before they have memory, which counts for the group. Groups that are not there are their maker's business.
Result<void> place_in_cgroups(const Snapshot& snapshot);
// oom_score_adj and coredump_filter: only where they differ, for lowering the first one takes privilege.
Result<void> set_scores(const Process& process);

}  // namespace upkeep::engine
