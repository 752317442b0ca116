// Sockets of IPv4 and IPv6 that know no connection: UDP, ICMP echo (icmp(7)), raw.

#include <linux/udp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/sockios.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <sstream>

#include "engine/native/inspect/socket_parts.h"
#include "os/file.h"

namespace upkeep::native {
namespace {

bool shares_its_port(const Socket& socket) {
  for (const auto& option : socket.options) {
    if (option.level == SOL_SOCKET && (option.name == SO_REUSEPORT || option.name == SO_REUSEADDR))
      return true;
  }
  return false;
}

// A message is put back by sending it once more: to one's own address, with the sender's.
bool can_be_sent_again(const Bytes& from) {
  in6_addr address = {};
  constexpr std::size_t kBegin = offsetof(sockaddr_in6, sin6_addr);
  if (from.data.size() < sizeof(sockaddr_in6)) return from.data.size() == sizeof(sockaddr_in);
  std::copy_n(from.data.begin() + kBegin, sizeof address, reinterpret_cast<std::uint8_t*>(&address));
  return !IN6_IS_ADDR_LINKLOCAL(&address);
}

bool is_bound_to_interface(const Socket& socket) {
  for (const auto& option : socket.options) {
    if (option.level == SOL_SOCKET && option.name == SO_BINDTODEVICE) return true;
  }
  return !socket.interface.empty();
}

bool is_multicast(const Bytes& local) {
  if (local.data.size() == sizeof(sockaddr_in))
    return local.data[offsetof(sockaddr_in, sin_addr)] >> 4U == 0xe;
  return local.data.size() >= sizeof(sockaddr_in6) && local.data[offsetof(sockaddr_in6, sin6_addr)] == 0xff;
}

Result<void> read_datagrams(SocketReading& reading) {
  auto& socket = reading.socket;
  pollfd one = {reading.fd.get(), POLLIN, 0};
  const bool ready = ::poll(&one, 1, 0) > 0;
  if (ready && (one.revents & POLLERR) != 0) {
    reading.refuse("an error in it has not been looked at", "try again");  // looking on would take it
    return {};
  }
  if (ready) TRY(read_unread_messages(reading));
  if (socket.unread.empty()) return {};
  bool again = !shares_its_port(socket) && !is_bound_to_interface(socket) && !is_multicast(socket.local);
  for (const auto& message : socket.unread) again = again && can_be_sent_again(message.from);
  if (!again) reading.refuse("datagrams that it has not read could not be delivered to it again", kTryAgain);
  return {};
}

// What a raw socket, or one for ICMP, has been sent is gone when it is too late for it.
void look_for_data(SocketReading& reading) {
  pollfd one = {reading.fd.get(), POLLIN, 0};
  if (::poll(&one, 1, 0) > 0 && (one.revents & POLLIN) != 0)
    reading.refuse("packets that it has not read cannot be put back", kTryAgain);
}

// Without a port nobody calls it connected (getpeername(2)); a list of the kernel's says to whom it is: lines
// "sl local_address rem_address st ... inode".
Result<void> read_remote_without_port(SocketReading& reading) {
  auto& socket = reading.socket;
  const bool six = socket.family == AF_INET6;
  const auto list =
      fmt::format("/proc/thread-self/net/{}{}", socket.type == SOCK_RAW ? "raw" : "icmp", six ? "6" : "");
  TRY_ASSIGN(const auto text, os::read_file(list));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::array<std::string, 10> word;
    for (auto& one : word) words >> one;
    if (word[9] != std::to_string(socket.inode)) continue;
    const auto address = std::string_view(word[2]).substr(0, word[2].find(':'));
    if (address.find_first_not_of('0') == std::string_view::npos) return {};
    // Words of 32 bits, each as a number.
    std::array<std::uint32_t, 4> number = {};
    constexpr std::size_t kDigits = 8;
    for (std::size_t i = 0; i < number.size() && (i + 1) * kDigits <= address.size(); ++i)
      std::from_chars(address.data() + i * kDigits, address.data() + (i + 1) * kDigits, number[i], 16);
    auto& name = socket.remote.data;
    name.assign(six ? sizeof(sockaddr_in6) : sizeof(sockaddr_in), 0);
    const auto family = static_cast<sa_family_t>(socket.family);
    std::memcpy(name.data(), &family, sizeof family);
    std::memcpy(name.data() + (six ? offsetof(sockaddr_in6, sin6_addr) : offsetof(sockaddr_in, sin_addr)),
                number.data(), six ? sizeof(in6_addr) : sizeof(in_addr));
    return {};
  }
  return {};
}

}  // namespace

Result<void> read_datagram_socket(SocketReading& reading) {
  auto& socket = reading.socket;
  TRY(read_remote_name(reading));
  TRY(read_memberships(reading));
  if (socket.protocol == IPPROTO_UDP && socket.type == SOCK_DGRAM) {
    if (number_option(reading.fd, IPPROTO_UDP, UDP_CORK) == 1)
      reading.refuse("a datagram is being put together (UDP_CORK)");
    if (number_option(reading.fd, IPPROTO_UDP, UDP_ENCAP) > 0)
      reading.refuse("the kernel takes packets out of it for a tunnel (UDP_ENCAP)");
    return reading.stopped ? read_datagrams(reading) : Result<void>();
  }
  if (socket.remote.data.empty()) TRY(read_remote_without_port(reading));
  if (reading.stopped) look_for_data(reading);
  return {};
}

}  // namespace upkeep::native
