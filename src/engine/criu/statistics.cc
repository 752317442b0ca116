#include "engine/criu/statistics.h"

#include "engine/criu/wire.h"

namespace upkeep::engine::criu {

// Two magic numbers, then each message behind its 32-bit length, little endian.
Result<PauseStatistics> parse_dump_statistics(std::string_view file) {
  constexpr std::size_t kHead = 12;
  if (file.size() < kHead) return Err("criu's statistics are too short");
  WireReader entry(file.substr(kHead));
  auto dump = entry.next();
  if (!dump || dump->number != 1 || dump->type != WireField::Type::bytes)
    return Err("criu's statistics are not of a dump");
  PauseStatistics out;
  std::uint64_t microseconds = 0;
  WireReader reader(dump->bytes);
  while (auto field = reader.next()) {
    if (field->number == 1 || field->number == 2) microseconds += field->value;  // freezing_time, frozen_time
    if (field->number == 5) out.pages_scanned = field->value;
    if (field->number == 6) out.pages_skipped_parent = field->value;
    if (field->number == 7) out.pages_written = field->value;
  }
  if (reader.broken()) return Err("criu's statistics cannot be read");
  out.paused_ms = static_cast<double>(microseconds) / 1000.0;
  return out;
}

}  // namespace upkeep::engine::criu
