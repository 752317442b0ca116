#pragma once
// Sockets of AF_UNIX, unix(7).

#include <cstdint>
#include <string>
#include <vector>

#include "common/text.h"

namespace upkeep::engine {

// Who was at the other end when it was connected, or who listens: SO_PEERCRED and SO_PEERGROUPS of unix(7).
struct PeerCredentials {
  std::int32_t pid = 0;  // it may have ended
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::uint32_t> groups;
  bool operator==(const PeerCredentials&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pid", self.pid);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("groups", self.groups);
  }
};

// Of the file that a socket of AF_UNIX is bound to.
struct SocketFile {
  std::uint32_t mode = 0, uid = 0, gid = 0;
  bool operator==(const SocketFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("mode", self.mode);
    visit("uid", self.uid);
    visit("gid", self.gid);
  }
};

// A name of AF_UNIX for people: a path, or "@" and an abstract name; empty where there is none.
std::string unix_name(const Bytes& address);

}  // namespace upkeep::engine
