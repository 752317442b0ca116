#pragma once
// How many pages of the kernel's pools of huge pages (hugetlbpage.rst) a snapshot takes.

#include <cstdint>
#include <functional>
#include <map>

#include "engine/model/snapshot.h"

namespace upkeep::engine {

// Pages by their size in bytes: those that are there, and those that mappings have been promised. Every
// process has its own of private mappings, also of pages that it still shares with who has forked it.
// IS_THERE: kept files that are not made anew.
using HugePagesNeeded = std::map<std::uint64_t, std::uint64_t>;
HugePagesNeeded huge_pages_needed(const Snapshot& snapshot,
                                  const std::function<bool(const KeptFile&)>& is_there = {});

}  // namespace upkeep::engine
