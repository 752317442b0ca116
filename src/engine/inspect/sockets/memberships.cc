#include "engine/inspect/sockets/memberships.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <sstream>
#include <tuple>

#include "engine/inspect/sockets/socket_questions.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

constexpr std::size_t kMostSources = 4096;

struct Candidate {
  std::uint32_t interface = 0;
  sockaddr_storage group = {};
};

template <typename Address>
Candidate candidate(std::uint32_t interface, const Address& group) {
  Candidate one;
  one.interface = interface;
  std::memcpy(&one.group, &group, sizeof group);
  return one;
}

// Lines "1 lo : 1 V3" and, below each, "010000E0 1 0:00000000 0".
std::vector<Candidate> ipv4_groups() {
  std::vector<Candidate> groups;
  const auto text = os::read_file("/proc/thread-self/net/igmp");
  if (!text) return groups;
  std::istringstream lines(*text);
  std::uint32_t interface = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    const auto* begin = line.data() + line.find_first_not_of(" \t");
    const auto* end = line.data() + line.size();
    if (line.front() != '\t') {
      if (std::from_chars(begin, end, interface).ec != std::errc()) interface = 0;
      continue;
    }
    sockaddr_in group = {};
    group.sin_family = AF_INET;
    if (std::from_chars(begin, end, group.sin_addr.s_addr, 16).ec == std::errc() && interface != 0)
      groups.push_back(candidate(interface, group));
  }
  return groups;
}

// Lines "1    lo              ff020000000000000000000000000001     1 0000000C 0".
std::vector<Candidate> ipv6_groups() {
  std::vector<Candidate> groups;
  const auto text = os::read_file("/proc/thread-self/net/igmp6");
  if (!text) return groups;
  std::istringstream words(*text);
  std::string interface, name, address, rest;
  while (words >> interface >> name >> address && std::getline(words, rest)) {
    sockaddr_in6 group = {};
    group.sin6_family = AF_INET6;
    std::uint32_t number = 0;
    if (address.size() != 2 * sizeof group.sin6_addr ||
        std::from_chars(interface.data(), interface.data() + interface.size(), number).ec != std::errc())
      continue;
    for (std::size_t i = 0; i < sizeof group.sin6_addr; ++i)
      std::from_chars(&address[2 * i], &address[2 * i] + 2, group.sin6_addr.s6_addr[i], 16);
    groups.push_back(candidate(number, group));
  }
  return groups;
}

Bytes as_bytes(const sockaddr_storage& address) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&address);
  return {{begin, begin + (address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6))}};
}

class Asking {
 public:
  explicit Asking(SocketReading& reading)
      : reading_(reading),
        level_(reading.socket.family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6),
        answer_(GROUP_FILTER_SIZE(kMostSources)) {}

  Result<void> about(const Candidate& candidate) {
    std::memset(answer_.data(), 0, answer_.size());
    auto* filter = reinterpret_cast<group_filter*>(answer_.data());
    filter->gf_interface = candidate.interface;
    filter->gf_group = candidate.group;
    filter->gf_numsrc = kMostSources;
    auto size = static_cast<socklen_t>(answer_.size());
    if (::getsockopt(reading_.fd.get(), level_, MCAST_MSFILTER, filter, &size) < 0) return {};  // not joined
    Membership membership;
    membership.interface = interface_name(candidate.interface);
    membership.group = as_bytes(candidate.group);
    membership.all_but = filter->gf_fmode == MCAST_EXCLUDE;
    if (filter->gf_numsrc > kMostSources) return Err("a group has more than {} sources", kMostSources);
    for (std::size_t i = 0; i < filter->gf_numsrc; ++i)
      membership.sources.push_back(as_bytes(filter->gf_slist[i]));
    std::sort(membership.sources.begin(), membership.sources.end(),
              [](const Bytes& a, const Bytes& b) { return a.data < b.data; });
    reading_.socket.memberships.push_back(std::move(membership));
    return {};
  }

 private:
  SocketReading& reading_;
  int level_;
  std::vector<std::uint8_t> answer_;
};

}  // namespace

Result<void> read_memberships(SocketReading& reading) {
  Asking asking(reading);
  for (const auto& candidate : reading.socket.family == AF_INET ? ipv4_groups() : ipv6_groups())
    TRY(asking.about(candidate));
  auto& memberships = reading.socket.memberships;
  std::sort(memberships.begin(), memberships.end(), [](const Membership& a, const Membership& b) {
    return std::tie(a.group.data, a.interface) < std::tie(b.group.data, b.interface);
  });
  return {};
}

}  // namespace upkeep::engine
