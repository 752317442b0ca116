#pragma once
// Streams to systemd-journald.

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

struct Socket;

// A stream to systemd-journald, which carries what a program writes to its standard output: what journald was
// told when it began, one line each (systemd's src/journal/journald-stream.c).
struct JournalStream {
  std::string identifier, unit;  // may be empty
  std::int32_t priority = 0;     // of syslog(3), with the facility
  bool level_prefix = false;     // "<3>" before a line is its level
  bool forward_to_syslog = false, forward_to_kmsg = false, forward_to_console = false;
  bool operator==(const JournalStream&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("identifier", self.identifier);
    visit("unit", self.unit);
    visit("priority", self.priority);
    visit("level_prefix", self.level_prefix);
    visit("forward_to_syslog", self.forward_to_syslog);
    visit("forward_to_kmsg", self.forward_to_kmsg);
    visit("forward_to_console", self.forward_to_console);
  }
};

// They become lines of what journald is sent.
Result<void> validate(const JournalStream& journal, const KnownObjects& known);
// Whether the other end has the name at which systemd-journald takes streams.
inline constexpr std::string_view kJournalStdout = "/run/systemd/journal/stdout";
bool leads_to_journald(const Socket& socket);

}  // namespace upkeep::engine
