#include "engine/engine.h"

#include "engine/inspect/memory/ahead.h"
#include "os/procfs.h"

namespace upkeep::engine {

Result<std::optional<std::uint64_t>> copy_ahead(const CarrySet& set, ImageWriter& image) {
  if (!PagesAhead::possible()) return std::nullopt;
  std::uint64_t bytes = 0;
  for (pid_t pid : set.pids()) {
    auto copied = image.copy_ahead(pid);
    const auto stat = os::read_stat(pid);
    const bool ended = !stat || stat->state == 'Z' || stat->state == 'X';  // it has no memory any more
    if (!copied && !ended) return tl::unexpected(std::move(copied).error());
    bytes += copied.value_or(0);
  }
  return bytes / kPage;
}

}  // namespace upkeep::engine
