#include "engine/rebuild/files/ipc_ids.h"

#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "os/child.h"
#include "os/file.h"

namespace upkeep::engine {

Result<void> make_with_id(const IpcMaker& maker) {
  TRY(os::write_value(fmt::format("/proc/sys/kernel/{}_next_id", maker.kind), fmt::to_string(maker.id)));
  constexpr int kAnotherId = 255;
  TRY_ASSIGN(const auto child, os::fork_child([&] {
               // A segment of huge pages takes a privilege that its creator had by its group
               // (hugetlb_shm_group).
               ::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
               if (::syscall(SYS_setresgid, -1, maker.creator_gid, -1) < 0 ||
                   ::syscall(SYS_setresuid, -1, maker.creator_uid, -1) < 0)
                 return errno;
               const int made = maker.get();
               if (made < 0) return errno;
               if (made == maker.id) return 0;
               maker.remove(made);
               return kAnotherId;
             }));
  TRY_ASSIGN(const auto status, os::wait_child(child, std::chrono::seconds(60)));
  if (status.success()) return {};
  const int code = status.code().value_or(0);
  if (code == kAnotherId) return Err("the kernel gives it another ID than {}", maker.id);
  return Err("{}get: {}", maker.kind, errno_text(code));
}

}  // namespace upkeep::engine
