#include "engine/rebuild/sockets/unread_messages.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>

#include "engine/rebuild/namespaces/network.h"
#include "engine/rebuild/sockets/outside_peers.h"
#include "engine/rebuild/sockets/peer_credentials.h"
#include "engine/rebuild/sockets/send_again.h"
#include "engine/rebuild/sockets/socket_options.h"
#include "engine/rebuild/sockets/unix_socket.h"

namespace upkeep::engine {
namespace {

constexpr std::size_t kMostDescriptors = 253;  // SCM_MAX_FD of the kernel

// Whoever sent it may have had more room, and each message is accounted with what surrounds it.
int room_for(const Socket& socket) {
  constexpr std::size_t kAccounted = 4, kMessage = 4096, kRoom = std::size_t{1} << 20U,
                        kMost = std::size_t{1} << 30U;
  std::size_t room = kRoom;
  for (const auto& message : socket.unread) room += kAccounted * message.data.data.size() + kMessage;
  return static_cast<int>(std::min(room, kMost));
}

// What goes beside the data: descriptors, and who has sent it.
class Control {
 public:
  Result<void> add(const std::vector<int>& descriptors) {
    if (descriptors.size() > kMostDescriptors)
      return Err("{} descriptors in one message", descriptors.size());
    return descriptors.empty() ? Result<void>()
                               : add(SCM_RIGHTS, descriptors.data(), descriptors.size() * sizeof(int));
  }
  Result<void> add(const SenderCredentials& sender) {
    const ucred credentials = {sender.pid, sender.uid, sender.gid};
    return add(SCM_CREDENTIALS, &credentials, sizeof credentials);
  }
  void put_into(msghdr& message) {
    if (size_ == 0) return;
    message.msg_control = bytes_.data();
    message.msg_controllen = size_;
  }

 private:
  Result<void> add(int type, const void* data, std::size_t size) {
    cmsghdr header = {};
    header.cmsg_len = CMSG_LEN(size);
    header.cmsg_level = SOL_SOCKET;
    header.cmsg_type = type;
    std::memcpy(bytes_.data() + size_, &header, sizeof header);
    std::memcpy(bytes_.data() + size_ + CMSG_LEN(0), data, size);
    size_ += CMSG_SPACE(size);
    return {};
  }
  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(kMostDescriptors * sizeof(int)) +
                                                CMSG_SPACE(sizeof(ucred))> bytes_ = {};
  std::size_t size_ = 0;
};

bool is_there(std::int32_t pid) { return ::kill(pid, 0) == 0 || errno != ESRCH; }

class Unread {
 public:
  Unread(const Snapshot& snapshot, const AllNamespaces& namespaces, const std::vector<os::UniqueFd>& files,
         GonePeers gone)
      : snapshot_(snapshot), namespaces_(namespaces), files_(files), gone_(std::move(gone)) {
    for (std::uint32_t i = 0; i < snapshot.files.size(); ++i) {
      const auto& socket = snapshot.files[i].socket;
      if (!socket || socket->family != AF_UNIX) continue;
      by_inode_[socket->inode] = i;
      if (socket->type == SOCK_DGRAM && !unix_name(socket->local).empty()) by_name_[socket->local.data] = i;
    }
  }

  Result<void> put_back() {
    for (std::uint32_t i = 0; i < snapshot_.files.size(); ++i) {
      const auto& file = snapshot_.files[i];
      if (!file.socket || file.socket->connection || file.socket->unread.empty()) continue;
      TRY_IN(file.name, os::in_namespace(network_of(*file.socket, snapshot_, namespaces_), "net",
                                         [&] { return fill(*file.socket, files_[i]); }));
    }
    for (std::uint32_t i = 0; i < snapshot_.files.size(); ++i) {
      const auto& file = snapshot_.files[i];
      if (file.socket && !file.socket->connection) TRY_IN(file.name, shut_down(*file.socket, files_[i]));
    }
    return {};
  }

 private:
  Result<void> fill(const Socket& socket, os::Fd fd) {
    if (socket.family != AF_UNIX) {
      const auto sizes = buffer_sizes(fd);
      TRY(set_buffer_sizes(fd, {sizes.send, room_for(socket), sizes.locked}));
      for (const auto& message : socket.unread) TRY(send_again(message, socket, fd));
      return set_buffer_sizes(fd, sizes);
    }
    for (const auto& message : socket.unread) TRY(send(message, socket));
    return {};
  }

  // The other end, where it is connected to this one and to nobody else.
  std::optional<os::Fd> other_end(const Socket& socket) const {
    if (const auto gone = gone_.find(socket.inode); gone != gone_.end()) return os::Fd(gone->second);
    const auto found = by_inode_.find(socket.peer);
    if (socket.peer == 0 || found == by_inode_.end()) return std::nullopt;
    const auto& other = *snapshot_.files[found->second].socket;
    if (other.peer != socket.inode || is_joined_by_name(other)) return std::nullopt;
    return os::Fd(files_[found->second]);
  }

  Result<void> send(const Message& message, const Socket& to) {
    const auto other = other_end(to);
    if (other) return send_from(*other, message, to, false);
    const auto sender = by_name_.find(message.from.data);
    if (sender != by_name_.end()) return send_from(files_[sender->second], message, to, true);
    // From somebody who is not there any more, or has no name.
    Socket sender_socket;
    sender_socket.family = to.family, sender_socket.type = to.type, sender_socket.protocol = to.protocol;
    sender_socket.local = message.from;
    TRY_ASSIGN(const auto fd, make_named(sender_socket));
    return send_from(fd, message, to, true);
  }

  Result<void> send_from(os::Fd from, const Message& message, const Socket& to, bool by_name) {
    Control control;
    std::vector<int> descriptors;
    for (const auto file : message.files) descriptors.push_back(files_[file].get());
    TRY(control.add(descriptors));
    if (message.credentials) TRY(control.add(*message.credentials));
    iovec area = {const_cast<std::uint8_t*>(message.data.data.data()), message.data.data.size()};
    msghdr header = {};
    header.msg_iov = &area;
    header.msg_iovlen = 1;
    control.put_into(header);
    if (by_name) {
      header.msg_name = const_cast<std::uint8_t*>(to.local.data.data());
      header.msg_namelen = static_cast<socklen_t>(to.local.data.size());
    }
    const auto sizes = buffer_sizes(from);
    TRY(set_buffer_sizes(from, {room_for(to), sizes.receive, sizes.locked}));
    std::optional<PeerCredentials> whom;
    if (message.credentials && !is_there(message.credentials->pid))
      whom =
          PeerCredentials{message.credentials->pid, message.credentials->uid, message.credentials->gid, {}};
    ssize_t sent = -1;
    TRY(call_as(whom, "sending what was not read", [&] {
      sent = ::sendmsg(from.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
      return sent == static_cast<ssize_t>(area.iov_len) ? 0 : -1;
    }));
    return set_buffer_sizes(from, sizes);
  }

  Result<void> shut_down(const Socket& socket, os::Fd fd) {
    if (const auto gone = gone_.find(socket.inode); gone != gone_.end()) {
      // Something that is never read makes closing it a reset.
      if (socket.peer_reset && ::send(fd.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
        return ErrnoErr("resetting it");
      gone_.erase(gone);
      return {};
    }
    const bool tcp = socket.family != AF_UNIX && socket.type == SOCK_STREAM;
    if (socket.shutdown == 0 || tcp || socket.journal || socket.listening) return {};
    // One that may not write makes the other one unable to read, and the other way around.
    if (::shutdown(fd.get(), static_cast<int>(socket.shutdown) - 1) < 0) return ErrnoErr("shutdown");
    return {};
  }

  const Snapshot& snapshot_;
  const AllNamespaces& namespaces_;
  const std::vector<os::UniqueFd>& files_;
  GonePeers gone_;
  std::map<std::uint64_t, std::uint32_t> by_inode_;
  std::map<std::vector<std::uint8_t>, std::uint32_t> by_name_;
};

}  // namespace

Result<void> put_back_unread(const Snapshot& snapshot, const AllNamespaces& namespaces,
                             const std::vector<os::UniqueFd>& files, GonePeers gone_peers) {
  return Unread(snapshot, namespaces, files, std::move(gone_peers)).put_back();
}

}  // namespace upkeep::engine
