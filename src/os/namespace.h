#pragma once
// namespaces(7) as descriptors: found from outside, entered for a moment.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// CLONE_NEWNS for "mnt", and so on; 0: there is no such kind.
int clone_flag(std::string_view kind);
// Of a process; 0: our own. KIND as in /proc/PID/ns.
Result<UniqueFd> open_namespace(pid_t pid, const std::string& kind);
// Its number, as namespace_id() in os/procfs.h tells it.
Result<std::uint64_t> namespace_number(Fd ns);
// Number of the user namespace that owns it (NS_GET_USERNS); of a user namespace: its parent (NS_GET_PARENT).
// EPERM: it is above or beside ours.
Result<std::uint64_t> owner_of_namespace(Fd ns);
Result<std::uint64_t> parent_of_user_namespace(Fd ns);

// The calling thread enters a namespace for good. KIND: "mnt", "uts", "ipc", "net" or "cgroup"; names are
// then looked up from a mount namespace's root. "pid": the children that it makes, not itself. "time": no
// thread may be beside it.
Result<void> enter_namespace(Fd ns, const std::string& kind);

// What LOOK returns, a Result, in a thread of its own that has entered NS; where that is no descriptor, here
// and now. Who enters a mount namespace may share root and working directory with nobody; and where PID 1
// stops sharing them with the kernel, the kernel finds no modprobe any more (7.3: "Pid 1 stopped sharing
// filesystem state"). LOOK cannot trace: ptrace(2) is a matter of threads.
template <typename Look>
auto in_namespace(Fd ns, const std::string& kind, const Look& look) -> decltype(look()) {
  if (ns.get() < 0) return look();
  decltype(look()) result = Err("nothing was looked at");
  std::thread([&] {
    auto entered = enter_namespace(ns, kind);
    if (entered)
      result = look();
    else
      result = tl::unexpected(std::move(entered).error());
  }).join();
  return result;
}

}  // namespace upkeep::os
