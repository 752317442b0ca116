#include "engine/criu/socket_options.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include <span>

#include "os/file.h"

// The built object's bytes, put in between by the assembler.
__asm__(
    ".pushsection .rodata\n"
    ".balign 16\n"
    "upkeep_shim_begin:\n"
    ".incbin \"" UPKEEP_SOCKET_OPTION_SHIM
    "\"\n"
    "upkeep_shim_end:\n"
    ".popsection\n");
extern "C" const char upkeep_shim_begin[], upkeep_shim_end[];

namespace upkeep::engine::criu {

bool kernel_refuses_those_options() {
  os::UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  int value = 0;
  socklen_t size = sizeof value;
  return socket.valid() && ::getsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &value, &size) < 0 &&
         errno == EOPNOTSUPP;
}

Result<os::UniqueFd> socket_option_shim() {
  os::UniqueFd file(::memfd_create("upkeep-criu-socket-options", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoErr("memfd_create");
  TRY(os::write_all(file, std::string_view(upkeep_shim_begin,
                                           static_cast<std::size_t>(upkeep_shim_end - upkeep_shim_begin))));
  return file;
}

}  // namespace upkeep::engine::criu
