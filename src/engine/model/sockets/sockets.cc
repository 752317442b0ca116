#include "engine/model/sockets/sockets.h"

#include <algorithm>

namespace upkeep::engine {
namespace {

constexpr std::int32_t kUnix = 1, kStream = 1;  // AF_UNIX, SOCK_STREAM
constexpr std::size_t kFamily = 2;              // bytes before the name in struct sockaddr_un

}  // namespace

std::string unix_name(const Bytes& address) {
  const auto& bytes = address.data;
  if (bytes.size() <= kFamily) return "";
  std::string name(bytes.begin() + kFamily, bytes.end());
  if (name.front() == '\0') return '@' + name.substr(1);
  name.resize(std::min(name.find('\0'), name.size()));
  return name;
}

bool leads_to_journald(const Socket& socket) {
  return socket.family == kUnix && socket.type == kStream && unix_name(socket.remote) == kJournalStdout;
}

}  // namespace upkeep::engine
