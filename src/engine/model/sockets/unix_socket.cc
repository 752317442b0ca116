#include "engine/model/sockets/unix_socket.h"

#include <algorithm>

namespace upkeep::engine {
namespace {

constexpr std::size_t kFamily = 2;  // bytes before the name in struct sockaddr_un

}  // namespace

std::string unix_name(const Bytes& address) {
  const auto& bytes = address.data;
  if (bytes.size() <= kFamily) return "";
  std::string name(bytes.begin() + kFamily, bytes.end());
  if (name.front() == '\0') return '@' + name.substr(1);
  name.resize(std::min(name.find('\0'), name.size()));
  return name;
}

}  // namespace upkeep::engine
