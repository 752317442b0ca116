#include "engine/inspect/sockets/socket_questions.h"

#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <cstring>
#include <sstream>

#include "os/file.h"

namespace upkeep::engine {

int number_option(os::Fd fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd.get(), level, name, &value, &size) == 0 ? value : -1;
}

short events_now(os::Fd fd) {
  pollfd one = {fd.get(), POLLIN | POLLRDHUP, 0};
  return ::poll(&one, 1, 0) < 0 ? short{0} : one.revents;
}

std::string interface_name(std::uint32_t number) {
  std::array<char, IF_NAMESIZE> name = {};
  return ::if_indextoname(number, name.data()) == nullptr ? "" : name.data();
}

Result<void> read_remote_name(SocketReading& reading) {
  std::array<std::uint8_t, sizeof(sockaddr_storage)> name = {};
  socklen_t size = name.size();
  if (::getpeername(reading.fd.get(), reinterpret_cast<sockaddr*>(name.data()), &size) == 0 &&
      size > sizeof(sa_family_t))
    reading.socket.remote.data.assign(name.begin(), name.begin() + size);
  return {};
}

// Lines "sl local_address rem_address st tx_queue:rx_queue tr:when retrnsmt uid timeout inode"; an address is
// words of 32 bits, each printed as a number of this machine.
Result<void> read_listed_remote(SocketReading& reading, std::string_view list) {
  auto& socket = reading.socket;
  const bool six = socket.family == AF_INET6;
  TRY_ASSIGN(const auto text, os::read_file(fmt::format("/proc/thread-self/net/{}{}", list, six ? "6" : "")));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::array<std::string, 10> word;
    for (auto& one : word) words >> one;
    if (word[9] != std::to_string(socket.inode)) continue;
    if (word[2].find_first_not_of("0:") == std::string::npos) return {};
    constexpr std::size_t kDigits = 8;
    const auto number = [&word](std::size_t at, std::size_t digits) {
      std::uint32_t value = 0;
      if (at + digits <= word[2].size()) std::from_chars(&word[2][at], &word[2][at] + digits, value, 16);
      return value;
    };
    const std::size_t parts = six ? 4 : 1;
    sockaddr_in6 address = {};
    auto* begin = six ? reinterpret_cast<std::uint8_t*>(&address.sin6_addr)
                      : reinterpret_cast<std::uint8_t*>(&reinterpret_cast<sockaddr_in&>(address).sin_addr);
    address.sin6_family = static_cast<sa_family_t>(socket.family);
    address.sin6_port = htons(static_cast<in_port_t>(number(parts * kDigits + 1, 4)));
    for (std::size_t i = 0; i < parts; ++i) {
      const auto part = number(i * kDigits, kDigits);
      std::memcpy(begin + i * sizeof part, &part, sizeof part);
    }
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&address);
    socket.remote.data.assign(bytes, bytes + (six ? sizeof(sockaddr_in6) : sizeof(sockaddr_in)));
    return {};
  }
  return {};
}

}  // namespace upkeep::engine
