#pragma once
// What is to be found out about pages, and where their contents go.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "common/result.h"

namespace upkeep::engine {

// Takes contents, whole pages. Returns the position where they can be found again.
using PageSink = std::function<Result<std::uint64_t>(std::span<const std::byte> pages)>;

class PagesAhead;

struct PageRequest {
  bool runs = true;    // which pages have contents; with a sink, also the contents
  bool guards = true;  // which pages are guards (GuardRegion)
  PageSink sink = {};
  const PagesAhead* ahead = nullptr;  // what was given to the same sink before (ahead.h)
};

}  // namespace upkeep::engine
