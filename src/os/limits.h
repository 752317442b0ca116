#pragma once
// Limits of this process, getrlimit(2).

#include <cstddef>

namespace upkeep::os {

// For COUNT descriptors of carried tasks, which are ours for a moment, each perhaps twice; as many as the
// machine lets one process have where they are too many for what we may have now.
void allow_descriptors(std::size_t count);

}  // namespace upkeep::os
