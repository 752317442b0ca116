#pragma once
// namespaces(7) as descriptors: found from outside, entered for a moment.

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// Of a process; 0: our own. KIND as in /proc/PID/ns.
Result<UniqueFd> open_namespace(pid_t pid, const std::string& kind);
// Its number, as namespace_id() in os/procfs.h tells it.
Result<std::uint64_t> namespace_number(Fd ns);
// Number of the user namespace that owns it (NS_GET_USERNS); of a user namespace: its parent (NS_GET_PARENT).
// EPERM: it is above or beside ours.
Result<std::uint64_t> owner_of_namespace(Fd ns);
Result<std::uint64_t> parent_of_user_namespace(Fd ns);

// The calling thread is in another mount, UTS or IPC namespace until this is let go. Names are then looked up
// from that namespace's root. Our own root and working directory come back with our own namespace.
class InNamespace {
 public:
  // KIND: "mnt", "uts" or "ipc".
  static Result<InNamespace> enter(Fd ns, const std::string& kind);
  InNamespace(InNamespace&&) noexcept = default;
  InNamespace& operator=(InNamespace&&) = delete;
  ~InNamespace();  // aborts where there is no way back: nothing of ours would be where it belongs

 private:
  InNamespace(UniqueFd home, UniqueFd root, UniqueFd directory)
      : home_(std::move(home)), root_(std::move(root)), directory_(std::move(directory)) {}
  UniqueFd home_, root_, directory_;
};

}  // namespace upkeep::os
