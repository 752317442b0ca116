#pragma once
// criu's own measurements: its stats-dump file (images/stats.proto), written beside the log.

#include <cstdint>
#include <string_view>

#include "common/result.h"

namespace upkeep::engine::criu {

struct PauseStatistics {
  double paused_ms = 0;  // from the first task stopping to all running again
  std::uint64_t pages_scanned = 0, pages_written = 0, pages_skipped_parent = 0;
};
Result<PauseStatistics> parse_dump_statistics(std::string_view file);

}  // namespace upkeep::engine::criu
