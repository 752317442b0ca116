#include "net/tcp_peers.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "net/messages.h"
#include "os/borrow_descriptor.h"
#include "os/child.h"
#include "os/procfs.h"
#include "os/tcp_repair.h"

namespace upkeep::net {
namespace {

using os::socket_option;

bool is_connection(os::Fd fd) {
  const auto domain = socket_option<int>(fd, SOL_SOCKET, SO_DOMAIN);
  if (domain != AF_INET && domain != AF_INET6) return false;
  if (socket_option<int>(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP) return false;
  const auto info = socket_option<tcp_info>(fd, IPPROTO_TCP, TCP_INFO);
  if (!info) return false;
  // Those in which the peer may have something outstanding; a peer in TIME_WAIT has not.
  static const std::set<std::uint8_t> open = {os::kTcpEstablished, os::kTcpFinWait1, os::kTcpFinWait2,
                                              os::kTcpCloseWait,   os::kTcpLastAck,  os::kTcpClosing};
  return open.contains(info->tcpi_state);
}

struct Name {
  std::string address;
  std::uint16_t port = 0;
  int family = 0, link = 0;
};

std::optional<Name> name_of(const sockaddr_storage& storage) {
  Name name;
  if (storage.ss_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &storage, sizeof in);
    name.family = AF_INET;
    name.port = ntohs(in.sin_port);
    name.address = address_text(AF_INET, {reinterpret_cast<const char*>(&in.sin_addr), 4});
    return name;
  }
  if (storage.ss_family != AF_INET6) return std::nullopt;
  sockaddr_in6 in;
  std::memcpy(&in, &storage, sizeof in);
  const std::string_view bytes(reinterpret_cast<const char*>(&in.sin6_addr), 16);
  const bool mapped = IN6_IS_ADDR_V4MAPPED(&in.sin6_addr);
  name.family = mapped ? AF_INET : AF_INET6;
  name.port = ntohs(in.sin6_port);
  name.address = address_text(name.family, mapped ? bytes.substr(12) : bytes);
  name.link = static_cast<int>(in.sin6_scope_id);
  return name;
}

// Reads what only repair mode shows. Which queue somebody has chosen is put back.
Result<void> read_sequences(os::Fd fd, os::Survivor& survivor, TcpPeer& peer) {
  TRY_ASSIGN(auto repair, os::TcpRepairMode::enter(fd, &survivor));
  TRY(os::choose_repair_queue(fd, TCP_RECV_QUEUE));
  const auto next = socket_option<std::uint32_t>(fd, IPPROTO_TCP, TCP_QUEUE_SEQ);
  const auto window = socket_option<tcp_repair_window>(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW);
  TRY(repair.leave(os::TcpRepairMode::Leaving::silently));
  if (!next) return Err("no sequence number of the receive queue");
  peer.receive_next = *next;
  peer.acknowledged = window ? window->rcv_wup : *next;
  return {};
}

Result<TcpPeer> look_at(os::Fd fd, os::Survivor& survivor) {
  sockaddr_storage local = {}, remote = {};
  socklen_t size = sizeof local;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &size) < 0) return ErrnoErr("getsockname");
  size = sizeof remote;
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&remote), &size) < 0)
    return ErrnoErr("getpeername");
  const auto ours = name_of(local), theirs = name_of(remote);
  if (!ours || !theirs) return Err("addresses of an unknown family");
  TcpPeer peer;
  peer.family = theirs->family;
  peer.local = ours->address;
  peer.peer = theirs->address;
  peer.local_port = ours->port;
  peer.peer_port = theirs->port;
  peer.link = theirs->link;
  TRY(read_sequences(fd, survivor, peer));
  return peer;
}

// Calls USE for each TCP connection of the tasks, once for each socket; ends with its first error.
Result<void> for_each_connection(const std::vector<pid_t>& pids,
                                 const std::function<Result<void>(os::Fd)>& use) {
  std::set<std::string> seen;
  for (pid_t pid : pids) {
    auto pidfd = os::open_pidfd(pid);
    if (!pidfd && pidfd.error().code() == ESRCH) continue;
    if (!pidfd) return tl::unexpected(std::move(pidfd).error());
    for (const auto& [number, link] : os::list_descriptors(pid)) {
      if (!link.starts_with("socket:[") || !seen.insert(link).second) continue;
      const auto fd = os::borrow_descriptor(*pidfd, pid, number);
      if (!fd && (fd.error().code() == EBADF || fd.error().code() == ESRCH)) continue;  // closed meanwhile
      if (!fd) return tl::unexpected(fd.error());
      if (!is_connection(*fd)) continue;
      TRY_IN(fmt::format("TCP socket {} of process {}", number, pid), use(*fd));
    }
  }
  return {};
}

}  // namespace

Result<std::vector<TcpPeer>> collect_tcp_peers(const std::vector<pid_t>& pids) {
  std::vector<TcpPeer> peers;
  os::Survivor survivor(::gettid());
  TRY(for_each_connection(pids, [&](os::Fd fd) {
    return look_at(fd, survivor).map([&](TcpPeer peer) { peers.push_back(std::move(peer)); });
  }));
  return peers;
}

Result<unsigned> probe_windows(const std::vector<pid_t>& pids) {
  unsigned probes = 0;
  os::Survivor survivor(::gettid());
  TRY(for_each_connection(pids, [&](os::Fd fd) -> Result<void> {
    int waiting = 0;
    if (::ioctl(fd.get(), SIOCOUTQ, &waiting) < 0 || waiting == 0) return {};
    ++probes;
    TRY_ASSIGN(auto repair, os::TcpRepairMode::enter(fd, &survivor));
    return repair.leave(os::TcpRepairMode::Leaving::with_window_probe);
  }));
  return probes;
}

nlohmann::json to_json(const std::vector<TcpPeer>& peers) {
  auto json = nlohmann::json::array();
  for (const auto& peer : peers) {
    json.push_back({{"family", peer.family},
                    {"local", peer.local},
                    {"local_port", peer.local_port},
                    {"peer", peer.peer},
                    {"peer_port", peer.peer_port},
                    {"link", peer.link},
                    {"receive_next", peer.receive_next},
                    {"acknowledged", peer.acknowledged}});
  }
  return json;
}

Result<std::vector<TcpPeer>> tcp_peers_from_json(const nlohmann::json& json) {
  try {
    if (!json.is_array()) return Err("TCP peers: not a list");
    std::vector<TcpPeer> peers;
    for (const auto& item : json) {
      TcpPeer& peer = peers.emplace_back();
      item.at("family").get_to(peer.family);
      item.at("local").get_to(peer.local);
      item.at("local_port").get_to(peer.local_port);
      item.at("peer").get_to(peer.peer);
      item.at("peer_port").get_to(peer.peer_port);
      item.at("link").get_to(peer.link);
      item.at("receive_next").get_to(peer.receive_next);
      item.at("acknowledged").get_to(peer.acknowledged);
    }
    return peers;
  } catch (const nlohmann::json::exception& error) {
    return Err("TCP peers: {}", error.what());
  }
}

}  // namespace upkeep::net
