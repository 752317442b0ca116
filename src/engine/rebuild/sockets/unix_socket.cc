#include "engine/rebuild/sockets/unix_socket.h"

#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "engine/rebuild/calls/scratch.h"
#include "engine/rebuild/sockets/peer_credentials.h"
#include "engine/rebuild/sockets/socket_options.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

Result<os::UniqueFd> make_bound(const Socket& socket) {
  os::UniqueFd fd(::socket(socket.family, socket.type | SOCK_CLOEXEC, socket.protocol));
  if (!fd.valid()) return ErrnoErr("socket");
  const auto name = unix_name(socket.local);
  if (name.empty()) return fd;
  std::error_code error;
  if (name.front() != '@') {
    std::filesystem::create_directories(std::filesystem::path(name).parent_path(), error);
    ::unlink(name.c_str());  // the other end may have the same name
  }
  TRY_IN(name, bind_name(fd, socket));
  return fd;
}

// Who has made a connection: the same for all of a group.
struct Makers {
  const Socket* client;
  const Socket* accepted;
  bool operator==(const Makers& other) const {
    const auto& [one, its] = other;
    return client->family == one->family && client->type == one->type && client->protocol == one->protocol &&
           client->peer_credentials == one->peer_credentials && accepted->local.data == its->local.data &&
           accepted->peer_credentials == its->peer_credentials;
  }
};
struct Connection {
  Makers ends;
  std::size_t number;  // in what is wanted
  os::UniqueFd client, accepted;
};
using Group = std::vector<Connection>;

std::string socket_name(const Socket& socket) { return fmt::format("socket:[{}]", socket.inode); }

// One after the other, so that none waits for another one to be accepted.
Result<std::vector<int>> connect_and_accept(os::Fd listener, const Group& group) {
  const auto& name = group.front().ends.accepted->local.data;
  std::vector<os::UniqueFd> accepted;
  for (const auto& one : group) {
    if (::connect(one.client.get(), reinterpret_cast<const sockaddr*>(name.data()),
                  static_cast<socklen_t>(name.size())) < 0)
      return ErrnoErr("{}: connect", socket_name(*one.ends.client));
    accepted.emplace_back(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!accepted.back().valid()) return ErrnoErr("{}: accept", socket_name(*one.ends.accepted));
  }
  std::vector<int> numbers;
  numbers.reserve(accepted.size());
  for (auto& fd : accepted) numbers.push_back(fd.release());
  return numbers;
}

Result<void> make_group(Group& group) {
  for (auto& one : group) {
    TRY_ASSIGN(one.client, make_bound(*one.ends.client));
  }
  const auto& [client, accepted] = group.front().ends;
  TRY_ASSIGN(const auto listener, make_bound(*accepted));
  TRY(call_as(client->peer_credentials, "listen", [&] { return ::listen(listener.get(), 1); }));
  TRY_ASSIGN(auto others,
             make_as(accepted->peer_credentials, [&] { return connect_and_accept(listener, group); }));
  for (std::size_t i = 0; i < group.size(); ++i) group[i].accepted = std::move(others.at(i));
  return {};
}

// MAKE runs in a thread, whose root directory is an empty one.
template <typename T, typename Make>
Result<T> below_scratch(const Make& make) {
  TRY_ASSIGN(const auto scratch, Scratch::make());
  const auto root = scratch.path() + "/root";
  TRY(os::make_directories(root));
  Result<T> made = Err("nothing was made");
  std::thread([&] {
    if (::unshare(CLONE_FS) < 0 || ::chroot(root.c_str()) < 0 || ::chdir("/") < 0)
      made = ErrnoErr("chroot {}", root);
    else
      made = make();
  }).join();
  TRY(os::remove_tree(root));
  return made;
}

}  // namespace

Result<std::vector<SocketPair>> make_named_pairs(std::span<const WantedPair> wanted) {
  std::vector<Group> groups;
  std::vector<SocketPair> made(wanted.size());
  if (wanted.empty()) return made;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto& [first, second] = wanted[i];
    const bool second_accepts = !unix_name(second->local).empty();
    const Makers ends{second_accepts ? first : second, second_accepts ? second : first};
    auto group = std::ranges::find_if(groups, [&](const auto& one) { return one.front().ends == ends; });
    if (group == groups.end()) group = groups.emplace(groups.end());
    group->push_back({ends, i, {}, {}});
  }
  auto made_all = below_scratch<bool>([&]() -> Result<bool> {
    for (auto& group : groups) TRY_IN(socket_name(*group.front().ends.accepted), make_group(group));
    return true;
  });
  TRY(made_all);
  for (auto& group : groups) {
    for (auto& one : group) {
      const bool first_is_client = one.ends.client == wanted[one.number].first;
      made[one.number] = first_is_client ? SocketPair(std::move(one.client), std::move(one.accepted))
                                         : SocketPair(std::move(one.accepted), std::move(one.client));
    }
  }
  return made;
}

Result<os::UniqueFd> make_named(const Socket& socket) {
  return below_scratch<os::UniqueFd>([&] { return make_bound(socket); });
}

}  // namespace upkeep::engine
