#pragma once
// Sockets that do not depend on what a peer outside does: listening ones, pairs, unconnected ones.

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/native/model/text.h"

namespace upkeep::native {

// One that has another value than a new socket of its kind; setsockopt(2).
struct SocketOption {
  std::int32_t level = 0, name = 0;
  Bytes value;
  bool operator==(const SocketOption&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("level", self.level);
    visit("name", self.name);
    visit("value", self.value);
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

struct Socket {
  std::int32_t family = 0, type = 0, protocol = 0;
  std::uint64_t inode = 0;
  std::uint64_t peer = 0;  // inode of the other end, AF_UNIX only
  bool listening = false;
  std::uint32_t backlog = 0;
  std::uint32_t shutdown = 0;  // 1: no more reading, 2: no more writing
  Bytes local;                 // sockaddr; only the family where it is bound to nothing
  std::optional<SocketFile> file;
  std::vector<Bytes> unread;  // messages; of a stream at most one
  std::vector<SocketOption> options;
  bool operator==(const Socket&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("family", self.family);
    visit("type", self.type);
    visit("protocol", self.protocol);
    visit("inode", self.inode);
    visit("peer", self.peer);
    visit("listening", self.listening);
    visit("backlog", self.backlog);
    visit("shutdown", self.shutdown);
    visit("local", self.local);
    visit("file", self.file);
    visit("unread", self.unread);
    visit("options", self.options);
  }
};

}  // namespace upkeep::native
