#pragma once
// The seam: what carries process trees from one kernel to the next, in four steps. Whoever carries calls them one by
// one, does between them what has to be done there, and measures each.
//
//   StoppedSet::stop   everything stands still, no socket queue has been read: the moment to close the network (what
//                      arrives after a queue was read would be acknowledged and lost)
//   StoppedSet::save   everything is read; the image is complete. Nothing is ever killed by it: the tasks run on when
//                      the set is let go, and when this process dies, of whatever cause
//   LoadedSet::make    after load(): every task exists, stopped, compared with what was saved, and has not run an
//                      instruction of its own. It may still be refused: then nothing ever ran, and no packet was sent
//   MadeSet::release   the tasks run
//
// Before the first of them, while everything runs: check() says what cannot be carried, copy_ahead() makes save() short.

#include <cstdint>
#include <optional>
#include <vector>

#include "common/finding.h"
#include "common/result.h"
#include "engine/carry_set.h"
#include "engine/destination.h"
#include "engine/image.h"
#include "engine/made_set.h"
#include "engine/stopped_set.h"

namespace upkeep::engine {

// Kernel modules that making a set asks the new kernel's questions through. Nobody loads them for it there, for
// there is no modprobe yet where the kernel looks for it.
inline constexpr const char* kModules[] = {"unix_diag"};

// What stands in the way of carrying SET; nothing is stopped for it. What this accepts can be saved, and made again in
// DESTINATION.
std::vector<Finding> check(const CarrySet& set, const Destination& destination);

// Copies memory of SET into IMAGE while its tasks run, for save() to use where it has not changed since. Returns the
// number of pages; none where this kernel does not say what changes.
Result<std::optional<std::uint64_t>> copy_ahead(const CarrySet& set, ImageWriter& image);

}  // namespace upkeep::engine
