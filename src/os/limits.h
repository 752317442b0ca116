#pragma once
// Limits of this process, getrlimit(2).

namespace upkeep::os {

// As many descriptors as the machine lets one process have: those of all carried tasks are ours for a moment.
void allow_many_descriptors();

}  // namespace upkeep::os
