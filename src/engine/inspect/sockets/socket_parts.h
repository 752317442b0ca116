#pragma once
// The parts of reading a socket, one for each family, and what they share.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "engine/model/sockets/sockets.h"
#include "os/fd.h"
#include "os/netlink.h"
#include "os/survivor.h"

namespace upkeep::engine {

// Descriptors on their way through a socket, taken out of it by looking, as descriptors of our own.
struct InFlight {
  std::size_t message = 0;  // of Socket::unread
  std::vector<os::UniqueFd> descriptors;
};

struct Reason {
  std::string why, remedy = {};
};
inline constexpr const char* kTryAgain = "try again, when it has been read";

// Who is asked about sockets (sock_diag(7)), from the first time on.
struct SocketDiag {
  std::optional<os::NetlinkSocket> socket;
};

// A socket that is being read, through a descriptor of our own.
struct SocketReading {
  os::Fd fd;
  bool stopped;     // unread data is looked at only then: else the task itself may be looking
  os::Fd own_root;  // our root folder, wherever names lead now
  Socket& socket;
  std::vector<Reason> reasons = {};  // why it cannot be rebuilt; empty where it can
  std::vector<Reason> losses = {};   // what is not carried with it
  std::vector<InFlight> in_flight = {};
  SocketDiag* own_diag = nullptr;    // none where it belongs to another network than ours
  os::Survivor* survivor = nullptr;  // puts back what is changed for a look if we end during it

  void refuse(std::string why, std::string remedy = "") {
    reasons.push_back({std::move(why), std::move(remedy)});
  }
  // An option of its that is about to be changed for a moment.
  os::Survivor::Promise will_put_back(int level, int name, int value) const {
    if (survivor == nullptr) return {};
    return survivor->promise({{fd.get(), level, name, value}});
  }
  // Of those that the network fills, and nobody can fill again.
  void refuse_unread_packets() { refuse("packets that it has not read cannot be put back", kTryAgain); }
};

// Of a connection. Our own are in it, too, between their making and the end of a rebuild.
inline constexpr const char* kLeftInRepairMode =
    "it is in repair mode: somebody else's checkpoint of it was broken off";

// socket.cc
int number_option(os::Fd fd, int level, int name);  // -1: there is none
short events_now(os::Fd fd);  // POLLIN, POLLRDHUP, POLLERR, POLLHUP; takes no error away
Result<void> read_remote_name(SocketReading& reading);
// Of an IPv4 or IPv6 socket, where getpeername(2) does not tell: from LIST of /proc/net ("tcp", "raw",
// "icmp").
Result<void> read_listed_remote(SocketReading& reading, std::string_view list);
// Of numbers of interfaces; "": there is none with that number.
std::string interface_name(std::uint32_t number);

// untold_socket_state.cc: of an IPv4 or IPv6 socket, what getsockopt(2) has no answer for.
void read_untold_state(SocketReading& reading);

// unread_messages.cc: of sockets that keep messages, and of streams of AF_UNIX; MOST: bytes.
Result<void> read_unread_messages(SocketReading& reading, std::int64_t most = INT64_MAX);

// unix_socket.cc, tcp.cc, datagram_socket.cc (UDP, ICMP, raw), packet_socket.cc, netlink_socket.cc
Result<void> read_unix(SocketReading& reading);
Result<void> read_tcp(SocketReading& reading);
Result<void> read_datagram_socket(SocketReading& reading);
Result<void> read_packet_socket(SocketReading& reading);
Result<void> read_netlink_socket(SocketReading& reading);
// memberships.cc: multicast groups of IPv4 and IPv6.
Result<void> read_memberships(SocketReading& reading);

}  // namespace upkeep::engine
