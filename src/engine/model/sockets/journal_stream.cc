#include "engine/model/sockets/journal_stream.h"

#include <sys/socket.h>

#include "engine/model/sockets/socket.h"

namespace upkeep::engine {

Result<void> validate(const JournalStream& journal, const KnownObjects&) {
  constexpr std::int32_t kHighestPriority = 999;  // facility and level, as journald takes them
  constexpr std::size_t kLongestLine = 254;
  for (const auto* line : {&journal.identifier, &journal.unit}) {
    if (line->size() > kLongestLine || line->find_first_of(std::string_view("\n\0", 2)) != std::string::npos)
      return Err("what journald knows of it is not a line");
  }
  if (journal.priority < 0 || journal.priority > kHighestPriority) return Err("its priority is impossible");
  return {};
}

bool leads_to_journald(const Socket& socket) {
  return socket.family == AF_UNIX && socket.type == SOCK_STREAM && unix_name(socket.remote) == kJournalStdout;
}

}  // namespace upkeep::engine
