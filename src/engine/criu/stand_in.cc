#include "engine/criu/stand_in.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <set>

#include "engine/criu/socket_facts.h"
#include "engine/criu/task_facts.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine::criu {
namespace {

std::set<std::uint64_t> sockets_of(const CarriedTree& tree) {
  std::set<std::uint64_t> inodes;
  for (const auto& task : tree.tasks) {
    for (auto& [number, link] : os::list_descriptors(task.pid)) {
      Descriptor descriptor;
      descriptor.link = std::move(link);
      if (descriptor.link.starts_with("socket:[")) inodes.insert(descriptor.inode());
    }
  }
  return inodes;
}

}  // namespace

std::vector<std::string> outside_names(const CarriedTree& tree) {
  std::vector<std::string> names;
  auto all = read_unix_sockets();
  if (!all) return names;
  const auto own = sockets_of(tree);
  std::set<std::string> once;
  for (auto inode : own) {
    auto socket = all->find(inode);
    if (socket == all->end() || socket->second.type != SOCK_DGRAM || own.contains(socket->second.peer))
      continue;
    auto peer = all->find(socket->second.peer);
    if (peer != all->end() && !peer->second.name.empty() && once.insert(peer->second.name).second)
      names.push_back(peer->second.name);
  }
  return names;
}

Result<StandIns> StandIns::bind(const std::vector<std::string>& names) {
  StandIns result;
  for (const auto& name : names) {
    const bool abstract = name.starts_with('@');
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (name.size() >= sizeof address.sun_path) return Err("'{}' is no name of a Unix socket", name);
    std::memcpy(address.sun_path, name.data(), name.size());
    if (abstract) address.sun_path[0] = '\0';
    if (!abstract) {
      if (os::exists(name)) continue;
      if (auto slash = name.rfind('/'); slash != std::string::npos && slash > 0)
        TRY(os::make_directories(name.substr(0, slash)));
    }
    os::UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return ErrnoErr("socket");
    const auto size =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (abstract ? 0 : 1));
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) < 0) {
      if (errno == EADDRINUSE) continue;
      return ErrnoErr("binding {}", name);
    }
    result.all_.push_back({abstract ? "" : name, std::move(socket)});
  }
  return result;
}

StandIns::~StandIns() {
  for (const auto& stand_in : all_) {
    if (!stand_in.path.empty()) ::unlink(stand_in.path.c_str());
  }
}

}  // namespace upkeep::engine::criu
