#pragma once
// Streams to systemd-journald.

#include <optional>
#include <string_view>

#include "common/result.h"
#include "engine/model/sockets/socket.h"
#include "os/fd.h"

namespace upkeep::engine {

// A file of /run/systemd/journal/streams. Values are escaped as C strings are; what this version does not
// know is passed over, for journald's newer versions may say more.
Result<JournalStream> parse_journal_stream(std::string_view text);

// What the journald that has the other end of SOCKET, FD, keeps about it: none where there is no such file.
// It is looked for where names lead now, and below ROOT, which is ours.
Result<std::optional<JournalStream>> read_journal_stream(os::Fd fd, const Socket& socket, os::Fd root);

}  // namespace upkeep::engine
