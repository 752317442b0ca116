#pragma once
// One descriptor, as whoever reads what it leads to is given it.

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "common/result.h"
#include "engine/inspect/sockets/socket_reading.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"
#include "os/survivor.h"

namespace upkeep::engine {

struct DescriptorFacts {
  pid_t pid = 0;  // where to look; of a copy it is ourselves
  int fd = -1;
  // Whose it is; 0 and -1: no process's yet, for it is on its way through a socket.
  pid_t holder = 0;
  int number = -1;
  std::string link;
  std::string info;  // of /proc/PID/fdinfo
  std::uint64_t device = 0, inode = 0;
  os::Fd own_root{-1};               // our root directory, wherever names lead now
  os::Fd process{-1};                // a pidfd of PID, where there is one
  std::uint64_t own_network = 0;     // SO_NETNS_COOKIE of our sockets; 0: this kernel has none (before 5.14)
  SocketDiag* own_diag = nullptr;    // asked about sockets of our network
  os::Survivor* survivor = nullptr;  // puts back what is changed for a look if we end during it
  bool inner = false;                // it sees the processes of another PID namespace
  std::string title() const { return descriptor_title(number, link); }
};

// The same open file description, as a descriptor of our own.
Result<os::UniqueFd> borrow_descriptor(const DescriptorFacts& facts);

}  // namespace upkeep::engine
