#pragma once
// Since Linux 6.16 asking an Internet socket for SO_PASSCRED or SO_PASSSEC is an error ("net: Restrict
// SO_PASS{CRED,PIDFD,SEC} to AF_{UNIX,NETLINK,BLUETOOTH}"). criu before 4.2 asks every socket for both and
// gives up on the first one: Debian 13's 4.1.1 cannot snapshot anything that has an Internet socket on such a
// kernel. What it needs is the answer that older kernels give, 0: a few instructions in a shared object,
// loaded into criu alone with LD_PRELOAD.

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::engine::criu {

bool kernel_refuses_those_options();
// The shared object, in memory: to be loaded as /proc/self/fd/N.
Result<os::UniqueFd> socket_option_shim();

}  // namespace upkeep::engine::criu
