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

}  // namespace upkeep::os
