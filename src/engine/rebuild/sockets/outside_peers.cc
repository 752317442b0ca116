#include "engine/rebuild/sockets/outside_peers.h"

#include <fcntl.h>
#include <sys/socket.h>

namespace upkeep::engine {
namespace {

// journald takes these lines before anything else; the unit it takes from root only (systemd's
// src/journal/journald-stream.c). Each message says who sent it, so that lines of the program are the
// program's.
std::string header_of(const JournalStream& stream) {
  return fmt::format("{}\n{}\n{}\n{:d}\n{:d}\n{:d}\n{:d}\n", stream.identifier, stream.unit, stream.priority,
                     stream.level_prefix, stream.forward_to_syslog, stream.forward_to_kmsg,
                     stream.forward_to_console);
}

// Nobody accepts fast enough where the queue is full: that is no reason to wait.
Result<bool> connect_at_once(os::Fd fd, const Socket& socket) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0) return ErrnoErr("F_SETFL");
  const bool connected = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(socket.remote.data.data()),
                                   static_cast<socklen_t>(socket.remote.data.size())) == 0;
  const int code = errno;
  if (::fcntl(fd.get(), F_SETFL, flags) < 0) return ErrnoErr("F_SETFL");
  if (connected) return true;
  // No such name; its listener has gone; one of another kind; one that hears somebody else only.
  for (const int nobody : {ENOENT, ENOTDIR, ECONNREFUSED, EPROTOTYPE, EPERM}) {
    if (code == nobody) return false;
  }
  return Err("connecting to {}: {}", unix_name(socket.remote), errno_text(code));
}

}  // namespace

bool is_joined(const Socket& socket) {
  if (socket.family != AF_UNIX) return false;
  return socket.journal || socket.connecting || (socket.type == SOCK_DGRAM && !socket.remote.data.empty());
}

bool is_joined_by_name(const Socket& socket) { return is_joined(socket) && !unix_name(socket.local).empty(); }

Result<bool> join(os::Fd fd, const Socket& socket) {
  TRY_ASSIGN(const bool connected, connect_at_once(fd, socket));
  if (!connected || !socket.journal) return connected;
  const auto header = header_of(*socket.journal);
  if (::send(fd.get(), header.data(), header.size(), MSG_DONTWAIT | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(header.size()))
    return ErrnoErr("sending journald the header of the stream");
  // As systemd does; journald shuts this direction down from its side.
  constexpr std::uint32_t kReading = 1, kWriting = 2;
  if ((socket.shutdown & kReading) != 0 && ::shutdown(fd.get(), SHUT_RD) < 0) return ErrnoErr("shutdown");
  if ((socket.shutdown & kWriting) != 0 && ::shutdown(fd.get(), SHUT_WR) < 0) return ErrnoErr("shutdown");
  return true;
}

}  // namespace upkeep::engine
