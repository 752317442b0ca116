#include "engine/rebuild/sockets/send_again.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "os/put_back_mark.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

template <typename T>
Result<T> as(const Bytes& address) {
  T value = {};
  if (address.data.size() < sizeof value) return Err("its sender has no address");
  std::memcpy(&value, address.data.data(), sizeof value);
  return value;
}

void append(std::vector<std::uint8_t>& packet, const void* data, std::size_t size) {
  const auto* begin = static_cast<const std::uint8_t*>(data);
  packet.insert(packet.end(), begin, begin + size);
}

// RFC 1071.
std::uint16_t checksum_of(std::span<const std::uint8_t> bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8U : bytes[i];
  while (sum >> 16U != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  const auto sent = static_cast<std::uint16_t>(~sum);
  return htons(sent == 0 ? 0xffff : sent);
}

udphdr udp_header(in_port_t from, in_port_t to, std::size_t size) {
  udphdr header = {};
  header.source = from;
  header.dest = to;
  header.len = htons(static_cast<std::uint16_t>(sizeof header + size));
  return header;
}

Result<void> transmit(int family, const std::vector<std::uint8_t>& packet, const void* to, socklen_t size) {
  const os::UniqueFd raw(::socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!raw.valid()) return ErrnoErr("raw socket");
  TRY(os::set_socket_option(raw, SOL_SOCKET, SO_MARK, os::kPutBackMark, "SO_MARK"));
  if (::sendto(raw.get(), packet.data(), packet.size(), MSG_DONTWAIT, static_cast<const sockaddr*>(to),
               size) < 0)
    return ErrnoErr("sending a datagram again");
  return {};
}

Result<void> send_ipv4(const sockaddr_in& from, const sockaddr_in& to, const Bytes& data) {
  const auto udp = udp_header(from.sin_port, to.sin_port, data.data.size());  // no checksum: none is checked
  iphdr ip = {};
  ip.version = 4;
  ip.ihl = sizeof ip / 4;
  ip.ttl = IPDEFTTL;
  ip.protocol = IPPROTO_UDP;
  ip.saddr = from.sin_addr.s_addr;
  ip.daddr = to.sin_addr.s_addr;  // the kernel fills in the length and the checksum
  std::vector<std::uint8_t> packet;
  append(packet, &ip, sizeof ip);
  append(packet, &udp, sizeof udp);
  append(packet, data.data.data(), data.data.size());
  return transmit(AF_INET, packet, &to, sizeof to);
}

Result<void> send_ipv6(const sockaddr_in6& from, sockaddr_in6 to, const Bytes& data) {
  auto udp = udp_header(from.sin6_port, to.sin6_port, data.data.size());
  std::vector<std::uint8_t> summed;  // RFC 8200, 8.1
  const std::array<std::uint8_t, 4> next = {0, 0, 0, IPPROTO_UDP};
  const std::uint32_t length = htonl(static_cast<std::uint32_t>(sizeof udp + data.data.size()));
  append(summed, &from.sin6_addr, sizeof from.sin6_addr);
  append(summed, &to.sin6_addr, sizeof to.sin6_addr);
  append(summed, &length, sizeof length);
  append(summed, next.data(), next.size());
  append(summed, &udp, sizeof udp);
  append(summed, data.data.data(), data.data.size());
  udp.check = checksum_of(summed);
  ip6_hdr ip = {};
  ip.ip6_vfc = 6U << 4U;
  ip.ip6_plen = udp.len;
  ip.ip6_nxt = IPPROTO_UDP;
  ip.ip6_hlim = IPDEFTTL;
  ip.ip6_src = from.sin6_addr;
  ip.ip6_dst = to.sin6_addr;
  std::vector<std::uint8_t> packet;
  append(packet, &ip, sizeof ip);
  append(packet, &udp, sizeof udp);
  append(packet, data.data.data(), data.data.size());
  to.sin6_port = 0;  // raw sockets take a protocol there
  return transmit(AF_INET6, packet, &to, sizeof to);
}

sockaddr_in unmapped(const sockaddr_in6& address) {
  sockaddr_in plain = {};
  plain.sin_family = AF_INET;
  plain.sin_port = address.sin6_port;
  std::memcpy(&plain.sin_addr, &address.sin6_addr.s6_addr[12], sizeof plain.sin_addr);
  return plain;
}

Result<void> send_from_ipv4(const sockaddr_in& from, sockaddr_in to, const Bytes& data) {
  if (to.sin_addr.s_addr == htonl(INADDR_ANY)) to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return send_ipv4(from, to, data);
}

Result<void> send_one(const Message& message, const Socket& to) {
  if (to.family == AF_INET) {
    TRY_ASSIGN(const auto from, as<sockaddr_in>(message.from));
    TRY_ASSIGN(const auto own, as<sockaddr_in>(to.local));
    return send_from_ipv4(from, own, message.data);
  }
  TRY_ASSIGN(const auto from, as<sockaddr_in6>(message.from));
  TRY_ASSIGN(auto own, as<sockaddr_in6>(to.local));
  if (IN6_IS_ADDR_V4MAPPED(&from.sin6_addr))
    return send_from_ipv4(unmapped(from), unmapped(own), message.data);
  if (IN6_IS_ADDR_UNSPECIFIED(&own.sin6_addr)) own.sin6_addr = in6addr_loopback;
  return send_ipv6(from, own, message.data);
}

std::uint32_t received(os::Fd fd) {
  constexpr int kMeminfo = 55;  // SO_MEMINFO of asm-generic/socket.h
  const auto memory = os::socket_option<std::array<std::uint32_t, 9>>(fd, SOL_SOCKET, kMeminfo);
  return memory ? memory->front() : 0;  // SK_MEMINFO_RMEM_ALLOC
}

}  // namespace

Result<void> send_again(const Message& message, const Socket& to, os::Fd fd) {
  constexpr int kTries = 2000;
  const auto before = received(fd);
  TRY(send_one(message, to));
  for (int tries = 0; received(fd) == before; ++tries) {
    if (tries == kTries) return Err("a datagram that had not been read was not delivered again");
    const timespec pause = {0, 500'000};
    ::nanosleep(&pause, nullptr);
  }
  return {};
}

}  // namespace upkeep::engine
