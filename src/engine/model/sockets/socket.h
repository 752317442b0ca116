#pragma once
// Sockets, whatever their family.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"
#include "engine/model/sockets/journal_stream.h"
#include "engine/model/sockets/memberships.h"
#include "engine/model/sockets/packet_socket.h"
#include "engine/model/sockets/tcp.h"
#include "engine/model/sockets/unix_socket.h"
#include "engine/model/sockets/unread_messages.h"

namespace upkeep::engine {

// One that has another value than a new socket of its kind; setsockopt(2).
struct SocketOption {
  std::int32_t level = 0, name = 0;
  Bytes value;
  std::string interface;  // where the value is the number of one: the next kernel may number it otherwise
  bool operator==(const SocketOption&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("level", self.level);
    visit("name", self.name);
    visit("value", self.value);
    visit("interface", self.interface);
  }
};

struct Socket {
  std::int32_t family = 0, type = 0, protocol = 0;
  std::uint64_t inode = 0;
  std::uint64_t network = 0;  // its network namespace: NamespaceNumbers::net; 0: the reader's own
  std::uint64_t peer = 0;     // inode of the other end, AF_UNIX only
  bool listening = false;
  bool connecting = false;  // TCP: `remote` has not answered yet; AF_UNIX: it has not accepted it yet
  bool peer_gone = false;   // AF_UNIX: the other end has been closed,
  bool peer_reset = false;  // with something in it that it had not read
  std::vector<std::uint64_t> waiting;  // inodes of those who wait to be accepted, in order; AF_UNIX only
  std::uint32_t backlog = 0;
  std::uint32_t shutdown = 0;  // 1: no more reading, 2: no more writing
  Bytes local;                 // sockaddr; only the family where it is bound to nothing
  Bytes remote;                // likewise of the other end; empty where there is none
  std::string interface;  // that a packet socket is bound to, or in which `local` and `remote` mean something
  std::optional<SocketFile> file;
  std::vector<Message> unread;
  std::vector<SocketOption> options;
  Bytes filter;  // struct sock_filter, as SO_ATTACH_FILTER takes them; socket(7)
  std::optional<PeerCredentials> peer_credentials;
  std::vector<Membership> memberships;
  std::vector<PacketMembership> packet_memberships;
  std::vector<std::uint32_t> netlink_groups;  // netlink(7)
  std::optional<TcpConnection> connection;
  std::optional<JournalStream> journal;
  bool operator==(const Socket&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("family", self.family);
    visit("type", self.type);
    visit("protocol", self.protocol);
    visit("inode", self.inode);
    visit("network", self.network);
    visit("peer", self.peer);
    visit("listening", self.listening);
    visit("connecting", self.connecting);
    visit("peer_gone", self.peer_gone);
    visit("peer_reset", self.peer_reset);
    visit("waiting", self.waiting);
    visit("backlog", self.backlog);
    visit("shutdown", self.shutdown);
    visit("local", self.local);
    visit("remote", self.remote);
    visit("interface", self.interface);
    visit("file", self.file);
    visit("unread", self.unread);
    visit("options", self.options);
    visit("filter", self.filter);
    visit("peer_credentials", self.peer_credentials);
    visit("memberships", self.memberships);
    visit("packet_memberships", self.packet_memberships);
    visit("netlink_groups", self.netlink_groups);
    visit("connection", self.connection);
    visit("journal", self.journal);
  }
};

Result<void> validate(const Socket& socket, const KnownObjects& known);
void make_comparable(Socket& value, const Socket* other, Comparison& comparison);

}  // namespace upkeep::engine
