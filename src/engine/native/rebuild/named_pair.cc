#include "engine/native/rebuild/named_pair.h"

#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "engine/native/rebuild/made_by.h"
#include "engine/native/rebuild/scratch.h"
#include "engine/native/rebuild/socket_options.h"
#include "os/file.h"

namespace upkeep::native {
namespace {

using Pair = std::pair<os::UniqueFd, os::UniqueFd>;

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

// The client, and what a listener accepts from it.
Result<Pair> connect(const Socket& client, const Socket& accepted) {
  TRY_ASSIGN(auto one, make_bound(client));
  TRY_ASSIGN(const auto listener, make_bound(accepted));
  TRY(done_by(client.peer_credentials, "listen", [&] { return ::listen(listener.get(), 1); }));
  const auto& name = accepted.local.data;
  TRY(done_by(accepted.peer_credentials, "connect", [&] {
    return ::connect(one.get(), reinterpret_cast<const sockaddr*>(name.data()),
                     static_cast<socklen_t>(name.size()));
  }));
  os::UniqueFd other(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!other.valid()) return ErrnoErr("accept");
  return Pair(std::move(one), std::move(other));
}

// MAKE runs in a thread, whose root folder is an empty one.
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

Result<Pair> make_named_pair(const Socket& first, const Socket& second) {
  const bool second_accepts = !unix_name(second.local).empty();
  const auto& client = second_accepts ? first : second;
  const auto& accepted = second_accepts ? second : first;
  auto pair = below_scratch<Pair>([&] { return connect(client, accepted); });
  if (pair && !second_accepts) std::swap(pair->first, pair->second);
  return pair;
}

Result<os::UniqueFd> make_named(const Socket& socket) {
  return below_scratch<os::UniqueFd>([&] { return make_bound(socket); });
}

}  // namespace upkeep::native
