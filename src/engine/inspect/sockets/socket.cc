#include "engine/inspect/sockets/socket.h"

#include <linux/if_packet.h>
#include <linux/net_tstamp.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>
#include <tuple>

#include "engine/inspect/sockets/datagram_socket.h"
#include "engine/inspect/sockets/netlink_socket.h"
#include "engine/inspect/sockets/packet_socket.h"
#include "engine/inspect/sockets/socket_questions.h"
#include "engine/inspect/sockets/tcp.h"
#include "engine/inspect/sockets/unix_socket.h"
#include "engine/inspect/sockets/write_only_options.h"
#include "os/file.h"
#include "os/open_socket.h"

namespace upkeep::engine {
namespace {

struct Numbers {
  int level;
  int last;  // options are numbered from 1
  std::initializer_list<int>
      left_out;  // states and statistics; questions that change something (SO_ERROR); unsettled values
  std::initializer_list<int> carried;
};

// Numbers of asm-generic/socket.h, linux/tcp.h, linux/udp.h, linux/in.h, linux/in6.h, linux/icmp.h,
// linux/icmpv6.h, linux/if_packet.h and linux/netlink.h.
const Numbers kSocketNumbers = {SOL_SOCKET,
                                82,
                                {3, 4, 17, 26, 28, 30, 31, 38, 39, 49, 55, 56, 57, 59, 71, 77, 62, 66,
                                 67},  // once more what 25 (SO_BINDTODEVICE), 20 and 21 (timeouts) tell
                                {2,  5,  6,  7,  8,  9,  10, 11, 12, 13, 15, 16, 18, 20, 21, 25, 29, 34,
                                 35, 36, 37, 42, 43, 44, 45, 46, 47, 60, 69, 72, 73, 74, 75, 76, 80, 81}};
const Numbers kTcpNumbers = {IPPROTO_TCP,
                             37,
                             {2, 10, 11, 12, 19, 20, 21, 22, 24, 26, 28, 29, 35},
                             {1, 3, 4, 5, 6, 7, 8, 9, 13, 16, 18, 23, 25, 27, 34, 36}};
const Numbers kUdpNumbers = {IPPROTO_UDP, 104, {1, 100}, {101, 102, 103, 104}};
const Numbers kIpNumbers = {
    IPPROTO_IP, 51, {4, 9, 14, 16, 17, 40, 41, 48}, {1,  2,  3,  6,  7,  8,  10, 11, 12, 13, 15, 18,
                                                     19, 20, 21, 22, 23, 24, 32, 33, 34, 49, 50, 51}};
const Numbers kIp6Numbers = {
    IPPROTO_IPV6, 80, {1, 6, 24, 32, 34, 35, 48, 50, 61}, {16, 17, 18, 19, 23, 25, 26, 29, 30, 33, 36,
                                                           49, 51, 66, 67, 70, 72, 74, 75, 76, 78}};
const Numbers kRawNumbers = {SOL_RAW, 7, {}, {1, 7}};
const Numbers kIcmp6Numbers = {IPPROTO_ICMPV6, 1, {}, {1}};
const Numbers kPacketNumbers = {SOL_PACKET, 24, {6, 11, 21}, {8, 9, 10, 12, 14, 15, 17, 19, 20, 23, 24}};
const Numbers kNetlinkNumbers = {SOL_NETLINK, 12, {9}, {3, 4, 5, 8, 10, 11, 12}};

bool contains(std::initializer_list<int> list, int value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::optional<Bytes> option(os::Fd fd, int level, int name) {
  std::array<std::uint8_t, 256> value = {};
  socklen_t size = value.size();
  if (::getsockopt(fd.get(), level, name, value.data(), &size) < 0) return std::nullopt;
  return Bytes{{value.begin(), value.begin() + std::min<socklen_t>(size, value.size())}};
}

// A connection that was accepted has some of multicast from the packet that began it, which mean nothing.
bool means_nothing(const Socket& socket, int level, int name) {
  if (socket.protocol != IPPROTO_TCP) return false;
  return level == IPPROTO_IP
             ? contains({IP_MULTICAST_IF, IP_MULTICAST_TTL}, name)
             : level == IPPROTO_IPV6 && contains({IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS}, name);
}

// Whether the option is the number of an interface, and in which order its bytes are.
std::string interface_of(int level, int name, const Bytes& value) {
  const bool network_order =
      (level == IPPROTO_IP && name == IP_UNICAST_IF) || (level == IPPROTO_IPV6 && name == IPV6_UNICAST_IF);
  const bool is_number = network_order || (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF);
  std::uint32_t number = 0;
  if (!is_number || value.data.size() != sizeof number) return "";
  std::memcpy(&number, value.data.data(), sizeof number);
  return interface_name(network_order ? ntohl(number) : number);
}

// Of SO_TIMESTAMPING, how many packets there were.
bool counts_packets(int level, int name, const Bytes& value) {
  std::uint32_t flags = 0;
  if (level != SOL_SOCKET || name != SO_TIMESTAMPING || value.data.size() < sizeof flags) return false;
  std::memcpy(&flags, value.data.data(), sizeof flags);
  return (flags & SOF_TIMESTAMPING_OPT_ID) != 0;
}

// What a new socket answers to every number of a level.
using FreshAnswers = std::vector<std::optional<Bytes>>;

// Whatever differs from a new socket of the same kind, so that nothing is overlooked.
void read_options(SocketReading& reading, const Numbers& numbers, const FreshAnswers& fresh) {
  auto& socket = reading.socket;
  for (int name = 1; name <= numbers.last; ++name) {
    if (contains(numbers.left_out, name) || means_nothing(socket, numbers.level, name)) continue;
    auto value = option(reading.fd, numbers.level, name);
    if (!value || value == fresh[static_cast<std::size_t>(name)]) continue;
    auto interface = interface_of(numbers.level, name, *value);
    if (contains(numbers.carried, name) && !counts_packets(numbers.level, name, *value))
      socket.options.push_back({numbers.level, name, std::move(*value), std::move(interface)});
    else if (numbers.level == IPPROTO_TCP && name == TCP_ULP)
      reading.refuse("the kernel encrypts what it carries (TCP_ULP: kernel TLS), and its keys cannot be read",
                     "tell the program to encrypt by itself (nginx: ssl_conf_command Options -KTLS)");
    else
      reading.refuse(
          fmt::format("option {} of level {} is not rebuilt by this version", name, numbers.level));
  }
}

// Its length counts instructions, not bytes, in both directions (sk_get_filter() of the kernel).
Result<void> read_filter(SocketReading& reading) {
  constexpr std::size_t kInstruction = 8;  // struct sock_filter
  socklen_t count = 0;
  if (::getsockopt(reading.fd.get(), SOL_SOCKET, SO_GET_FILTER, nullptr, &count) < 0) {
    if (errno == EACCES) reading.refuse("a BPF program is attached to it, which cannot be read");
    return {};
  }
  auto& filter = reading.socket.filter.data;
  filter.resize(count * kInstruction);
  if (count != 0 && ::getsockopt(reading.fd.get(), SOL_SOCKET, SO_GET_FILTER, filter.data(), &count) < 0)
    return ErrnoErr("SO_GET_FILTER");
  return {};
}

bool is_inet(const Socket& socket) { return socket.family == AF_INET || socket.family == AF_INET6; }

std::vector<const Numbers*> numbers_for(const Socket& socket) {
  std::vector<const Numbers*> all = {&kSocketNumbers};
  if (socket.family == AF_PACKET) all.push_back(&kPacketNumbers);
  if (socket.family == AF_NETLINK) all.push_back(&kNetlinkNumbers);
  if (!is_inet(socket)) return all;
  if (socket.type == SOCK_RAW) all.push_back(&kRawNumbers);
  if (socket.type == SOCK_RAW && socket.protocol == IPPROTO_ICMPV6) all.push_back(&kIcmp6Numbers);
  if (socket.protocol == IPPROTO_TCP && socket.type == SOCK_STREAM) all.push_back(&kTcpNumbers);
  if (socket.protocol == IPPROTO_UDP && socket.type == SOCK_DGRAM) all.push_back(&kUdpNumbers);
  all.push_back(&kIpNumbers);
  if (socket.family == AF_INET6) all.push_back(&kIp6Numbers);
  return all;
}

// New sockets are asked once for each kind of them and each network: there may be thousands of one kind.
Result<const std::vector<FreshAnswers>*> fresh_answers(const Socket& socket) {
  struct stat network = {};
  if (::stat("/proc/thread-self/ns/net", &network) < 0) return ErrnoErr("/proc/thread-self/ns/net");
  using Kind = std::tuple<ino_t, int, int, int>;
  static std::map<Kind, std::vector<FreshAnswers>> known;
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  auto& answers = known[{network.st_ino, socket.family, socket.type, socket.protocol}];
  if (!answers.empty()) return &answers;
  TRY_ASSIGN(const auto fresh, os::open_socket(socket.family, socket.type, socket.protocol));
  std::vector<FreshAnswers> all;
  for (const auto* numbers : numbers_for(socket)) {
    auto& level = all.emplace_back(static_cast<std::size_t>(numbers->last) + 1);
    for (int name = 1; name <= numbers->last; ++name) {
      if (!contains(numbers->left_out, name))
        level[static_cast<std::size_t>(name)] = option(fresh, numbers->level, name);
    }
  }
  answers = std::move(all);
  return &answers;
}

Result<void> read_all_options(SocketReading& reading) {
  TRY_ASSIGN(const auto* fresh, fresh_answers(reading.socket));
  const auto all = numbers_for(reading.socket);
  for (std::size_t i = 0; i < all.size(); ++i) read_options(reading, *all[i], fresh->at(i));
  return read_filter(reading);
}

Result<void> read_own_name(SocketReading& reading) {
  std::array<std::uint8_t, sizeof(sockaddr_storage)> name = {};
  socklen_t size = name.size();
  if (::getsockname(reading.fd.get(), reinterpret_cast<sockaddr*>(name.data()), &size) < 0)
    return ErrnoErr("getsockname");
  reading.socket.local.data.assign(name.begin(), name.begin() + size);
  return {};
}

// A link-local address means something on one interface only.
void read_scope(Socket& socket) {
  for (const auto* name : {&socket.local, &socket.remote}) {
    sockaddr_in6 address = {};
    if (socket.family != AF_INET6 || name->data.size() != sizeof address) continue;
    std::memcpy(&address, name->data.data(), sizeof address);
    if (address.sin6_scope_id != 0) socket.interface = interface_name(address.sin6_scope_id);
  }
}

using ReadPart = Result<void> (*)(SocketReading&);

// Null: no sockets of that kind are rebuilt.
ReadPart reader_for(const Socket& socket) {
  if (socket.family == AF_UNIX) return read_unix;
  if (socket.family == AF_NETLINK) return read_netlink_socket;
  if (socket.family == AF_PACKET) return read_packet_socket;
  if (!is_inet(socket)) return nullptr;
  if (socket.type == SOCK_RAW) return read_datagram_socket;
  if (socket.type == SOCK_STREAM) return socket.protocol == IPPROTO_TCP ? read_tcp : nullptr;
  const bool known =
      socket.protocol == IPPROTO_UDP || socket.protocol == IPPROTO_ICMP || socket.protocol == IPPROTO_ICMPV6;
  return socket.type == SOCK_DGRAM && known ? read_datagram_socket : nullptr;
}

}  // namespace

Result<void> read_socket(SocketReading& reading, std::uint64_t inode) {
  auto& socket = reading.socket;
  socket.inode = inode;
  socket.family = number_option(reading.fd, SOL_SOCKET, SO_DOMAIN);
  socket.type = number_option(reading.fd, SOL_SOCKET, SO_TYPE);
  socket.protocol = number_option(reading.fd, SOL_SOCKET, SO_PROTOCOL);
  const auto read_part = reader_for(socket);
  if (read_part == nullptr) {
    reading.refuse(fmt::format("sockets of family {}, type {}, protocol {} are not rebuilt by this version",
                               socket.family, socket.type, socket.protocol));
    return {};
  }
  socket.listening = number_option(reading.fd, SOL_SOCKET, SO_ACCEPTCONN) == 1;
  TRY(read_own_name(reading));
  read_scope(socket);
  TRY(read_all_options(reading));
  read_write_only_options(reading);
  TRY(read_part(reading));
  read_scope(socket);
  return {};
}

}  // namespace upkeep::engine
