#include "os/open_socket.h"

#include <sys/socket.h>

#include "os/file.h"

namespace upkeep::os {

Result<UniqueFd> open_socket(int family, int type, int protocol) {
  UniqueFd fd(::socket(family, type | SOCK_CLOEXEC, protocol));
  if (fd.valid()) return fd;
  if (type != SOCK_DGRAM || errno != EACCES) return ErrnoErr("socket");
  constexpr const char* kGroups = "/proc/sys/net/ipv4/ping_group_range";
  TRY_ASSIGN(const auto before, read_file(kGroups));
  TRY(write_value(kGroups, "0 0"));
  fd.reset(::socket(family, type | SOCK_CLOEXEC, protocol));
  const int code = errno;
  TRY(write_value(kGroups, before));
  if (!fd.valid()) return Err("socket: {}", errno_text(code));
  return fd;
}

std::uint64_t network_cookie(Fd socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

}  // namespace upkeep::os
