#pragma once
// Sockets.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/text.h"

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

// SCM_CREDENTIALS of unix(7).
struct SenderCredentials {
  std::int32_t pid = 0;
  std::uint32_t uid = 0, gid = 0;
  bool operator==(const SenderCredentials&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pid", self.pid);
    visit("uid", self.uid);
    visit("gid", self.gid);
  }
};

// One that has not been read. Of a stream: as much as one read(2) may give.
struct Message {
  Bytes data;
  Bytes from;                        // sockaddr of the sender; empty where it has none, or it is the peer
  std::vector<std::uint32_t> files;  // descriptors on their way: indices into Snapshot::files
  std::optional<SenderCredentials> credentials;  // where the receiver has asked for them (SO_PASSCRED)
  bool operator==(const Message&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("data", self.data);
    visit("from", self.from);
    visit("files", self.files);
    visit("credentials", self.credentials);
  }
};

// A multicast group of ip(7) or ipv6(7).
struct Membership {
  std::string interface;
  Bytes group;                 // sockaddr
  bool all_but = true;         // from everybody but SOURCES; else from these only
  std::vector<Bytes> sources;  // sockaddr
  bool operator==(const Membership&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("interface", self.interface);
    visit("group", self.group);
    visit("all_but", self.all_but);
    visit("sources", self.sources);
  }
};

// PACKET_ADD_MEMBERSHIP of packet(7).
struct PacketMembership {
  std::string interface;
  std::uint32_t type = 0;  // PACKET_MR_...
  Bytes address;
  std::uint32_t count = 1;
  bool operator==(const PacketMembership&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("interface", self.interface);
    visit("type", self.type);
    visit("address", self.address);
    visit("count", self.count);
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

// TCP_REPAIR_WINDOW: struct tcp_repair_window of linux/tcp.h.
struct TcpWindow {
  std::uint32_t snd_wl1 = 0, snd_wnd = 0, max_window = 0, rcv_wnd = 0, rcv_wup = 0;
  bool operator==(const TcpWindow&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("snd_wl1", self.snd_wl1);
    visit("snd_wnd", self.snd_wnd);
    visit("max_window", self.max_window);
    visit("rcv_wnd", self.rcv_wnd);
    visit("rcv_wup", self.rcv_wup);
  }
};

// A TCP connection as repair mode shows it. What has been received and not read is in Socket::unread.
struct TcpConnection {
  std::uint32_t state = 0;  // of tcp_states.h
  Bytes unacknowledged;     // from the oldest byte that the peer has not acknowledged
  // How much of that, counted from its end, has not been sent; with one more where our FIN has not been sent.
  std::uint32_t unsent = 0;
  std::uint32_t write_seq = 0, rcv_nxt = 0;  // behind the last byte in each direction, FIN included
  std::uint32_t mss = 0;                     // what the peer takes at most
  std::optional<std::uint32_t> snd_wscale, rcv_wscale;
  bool sack = false;
  std::optional<std::uint32_t> timestamp;  // of the last moment; none: the connection has no timestamps
  bool microseconds = false;               // of the timestamps (6.7 and newer)
  TcpWindow window;
  std::uint32_t window_clamp = 0;
  bool operator==(const TcpConnection&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("state", self.state);
    visit("unacknowledged", self.unacknowledged);
    visit("unsent", self.unsent);
    visit("write_seq", self.write_seq);
    visit("rcv_nxt", self.rcv_nxt);
    visit("mss", self.mss);
    visit("snd_wscale", self.snd_wscale);
    visit("rcv_wscale", self.rcv_wscale);
    visit("sack", self.sack);
    visit("timestamp", self.timestamp);
    visit("microseconds", self.microseconds);
    visit("window", self.window);
    visit("window_clamp", self.window_clamp);
  }
};

// A stream to systemd-journald, which carries what a program writes to its standard output: what journald was
// told when it began, one line each (systemd's src/journal/journald-stream.c).
struct JournalStream {
  std::string identifier, unit;  // may be empty
  std::int32_t priority = 0;     // of syslog(3), with the facility
  bool level_prefix = false;     // "<3>" before a line is its level
  bool forward_to_syslog = false, forward_to_kmsg = false, forward_to_console = false;
  bool operator==(const JournalStream&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("identifier", self.identifier);
    visit("unit", self.unit);
    visit("priority", self.priority);
    visit("level_prefix", self.level_prefix);
    visit("forward_to_syslog", self.forward_to_syslog);
    visit("forward_to_kmsg", self.forward_to_kmsg);
    visit("forward_to_console", self.forward_to_console);
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

// A name of AF_UNIX for people: a path, or "@" and an abstract name; empty where there is none.
std::string unix_name(const Bytes& address);

// Whether the other end has the name at which systemd-journald takes streams.
inline constexpr std::string_view kJournalStdout = "/run/systemd/journal/stdout";
bool leads_to_journald(const Socket& socket);

}  // namespace upkeep::engine
