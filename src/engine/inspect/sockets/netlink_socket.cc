#include "engine/inspect/sockets/netlink_socket.h"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "engine/inspect/calls/look.h"
#include "engine/inspect/calls/reason.h"
#include "engine/inspect/sockets/socket_questions.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

// "": it can be carried.
std::string why_not(int protocol) {
  switch (protocol) {
    case NETLINK_ROUTE:
    case NETLINK_SOCK_DIAG:
    case NETLINK_KOBJECT_UEVENT:
    case NETLINK_USERSOCK:
      return "";
    case NETLINK_GENERIC:
      return "generic netlink numbers its families otherwise in every kernel, and programs remember the "
             "numbers";
    default:
      return fmt::format("what the kernel keeps for sockets of netlink protocol {} does not show", protocol);
  }
}

Result<void> read_groups(SocketReading& reading) {
  socklen_t size = 0;
  if (::getsockopt(reading.fd.get(), SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, nullptr, &size) < 0)
    return ErrnoErr("NETLINK_LIST_MEMBERSHIPS");
  std::vector<std::uint32_t> bits(size / sizeof(std::uint32_t));
  if (bits.empty()) return {};
  if (::getsockopt(reading.fd.get(), SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, bits.data(), &size) < 0)
    return ErrnoErr("NETLINK_LIST_MEMBERSHIPS");
  constexpr std::uint32_t kBits = 32;
  for (std::uint32_t i = 0; i < bits.size() * kBits; ++i) {
    if ((bits[i / kBits] >> (i % kBits) & 1U) != 0) reading.socket.netlink_groups.push_back(i + 1);
  }
  return {};
}

// Lines "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode".
bool is_answered_in_parts(std::uint64_t inode) {
  const auto text = os::read_file("/proc/thread-self/net/netlink");
  if (!text) return false;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::array<std::string, 10> word;
    for (auto& one : word) words >> one;
    if (word[9] == std::to_string(inode)) return word[6] != "0";
  }
  return false;
}

}  // namespace

Result<void> read_netlink_socket(SocketReading& reading) {
  if (auto why = why_not(reading.socket.protocol); !why.empty()) reading.refuse(std::move(why));
  TRY(read_remote_name(reading));
  TRY(read_groups(reading));
  if (!stand_still(reading.tasks)) return {};
  if ((events_now(reading.fd) & (POLLIN | POLLERR)) != 0)
    reading.refuse("what the kernel has told it and it has not read cannot be put back", kTryAgain);
  else if (is_answered_in_parts(reading.socket.inode))
    reading.refuse("it has an answer of which only a part has come", kTryAgain);
  return {};
}

}  // namespace upkeep::engine
