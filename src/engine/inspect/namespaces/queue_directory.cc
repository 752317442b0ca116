#include "engine/inspect/namespaces/queue_directory.h"

#include <sys/mount.h>

namespace upkeep::engine {

Result<os::UniqueFd> open_queue_directory() {
  const os::UniqueFd context(::fsopen("mqueue", FSOPEN_CLOEXEC));
  if (!context.valid()) return os::UniqueFd();  // the kernel has none
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return ErrnoErr("fsconfig mqueue");
  os::UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  if (!mount.valid()) return ErrnoErr("fsmount mqueue");
  return mount;
}

}  // namespace upkeep::engine
