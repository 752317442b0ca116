#pragma once
// What is looked at to say whether a socket can be carried. The sockets are asked directly, through a
// descriptor taken with pidfd_getfd(2) (Linux 5.6); nothing is stopped and no queue is touched. Peers of Unix
// sockets come from sock_diag(7).

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::engine::criu {

struct SocketFacts {
  int domain = 0, type = 0, protocol = 0;  // SO_DOMAIN, SO_TYPE, SO_PROTOCOL
  bool has_data = false;                   // netlink only: something waits to be read
  std::string upper_protocol;              // TCP_ULP: "tls"
  bool corked = false;                     // UDP_CORK
  bool in_repair = false;                  // TCP_REPAIR: left behind by a checkpoint that died
  bool link_local_unbound = false;         // bound to a link-local IPv6 address, but to no interface
  std::string local, remote;               // "[::1]:80", for people; remote empty where it is not connected
  bool loopback_peer = false;              // connected to this machine itself
};
Result<SocketFacts> read_socket(pid_t pid, int descriptor);

// Takes TCP sockets of a task out of repair mode, in which a checkpoint program that was killed leaves them
// (they neither send nor receive then). Returns how many there were.
int end_tcp_repair(pid_t pid);

struct UnixSocket {
  std::uint32_t inode = 0;
  int type = 0;   // SOCK_STREAM, ...
  int state = 0;  // as for TCP: 1 established, 7 closed, 10 listening
  std::uint32_t peer = 0;
  std::string name;                    // a path, or "@name" for abstract ones; empty: none
  std::vector<std::uint32_t> pending;  // connections not accepted yet; 0 for one that was closed again
  std::uint8_t shutdown = 0;           // 1 receiving, 2 sending, 3 both
};
// Of this network namespace, by inode.
using UnixSockets = std::map<std::uint64_t, UnixSocket>;
Result<UnixSockets> read_unix_sockets();

}  // namespace upkeep::engine::criu
