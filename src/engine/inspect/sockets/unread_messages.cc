#include "engine/inspect/sockets/unread_messages.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "engine/inspect/calls/reason.h"
#include "engine/inspect/sockets/socket_questions.h"
#include "engine/model/snapshot.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

constexpr int kScmPidfd = 4;  // linux/socket.h, 6.5

constexpr std::size_t kLargest = std::size_t{1} << 20U;  // of one message

// What one look has shown.
struct UnreadLook {
  Message message;
  std::vector<os::UniqueFd> descriptors;
  bool cut = false;            // the message is longer
  bool tells_the_way = false;  // how it came: where it was sent to, by which interface, ...
};

// Room that ends where nothing can be written.
class Buffer {
 public:
  Buffer()
      : memory_(
            ::mmap(nullptr, kLargest + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (valid()) ::mprotect(end(), kPage, PROT_NONE);
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() {
    if (valid()) ::munmap(memory_, kLargest + kPage);
  }
  bool valid() const { return memory_ != MAP_FAILED; }
  std::uint8_t* begin() const { return static_cast<std::uint8_t*>(memory_); }
  std::uint8_t* end() const { return begin() + kLargest; }

 private:
  void* memory_;
};

class Messages {
 public:
  explicit Messages(SocketReading& reading) : reading_(reading) {}

  Result<void> read(std::int64_t most) {
    if (!buffer_.valid()) return ErrnoErr("mmap");
    for (std::int64_t offset = 0; offset < most;) {
      const auto rest = std::min(static_cast<std::size_t>(most - offset), kLargest);
      TRY_ASSIGN(auto look, look_at(offset, rest));
      if (!look) return {};
      const auto size = look->message.data.data.size();
      if (is_stream() && size == 0) return {};
      if (look->cut) reading_.refuse("a message in it is larger than 1 MiB");
      if (look->tells_the_way) reading_.refuse("how an unread message came cannot be told again", kTryAgain);
      if (is_stream() && !look->descriptors.empty()) TRY(split_off_what_comes_before(*look, offset));
      add(std::move(*look));
      offset += static_cast<std::int64_t>(size);
    }
    return {};
  }

 private:
  bool is_stream() const { return reading_.socket.type == SOCK_STREAM; }

  // At the byte OFFSET of what is unread; nothing where nothing is there.
  Result<std::optional<UnreadLook>> look_at(std::int64_t offset, std::size_t most) {
    const int from = static_cast<int>(offset);
    if (from != at_) TRY(os::set_socket_option(reading_.fd, SOL_SOCKET, SO_PEEK_OFF, from, "SO_PEEK_OFF"));
    std::array<std::uint8_t, 4096> control = {};
    sockaddr_storage name = {};
    iovec area = {buffer_.begin(), most};
    msghdr message = {};
    message.msg_name = &name;
    message.msg_namelen = sizeof name;
    message.msg_iov = &area;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(reading_.fd.get(), &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0) return std::nullopt;
    if (size == 0 && reading_.socket.type == SOCK_SEQPACKET) return std::nullopt;  // its end
    at_ = from + static_cast<int>(size);
    UnreadLook look;
    look.cut = (message.msg_flags & MSG_TRUNC) != 0;
    if ((message.msg_flags & MSG_CTRUNC) != 0)
      return Err("a message says more about itself than there is room for");
    look.message.data.data.assign(buffer_.begin(), buffer_.begin() + size);
    if (reading_.socket.type != SOCK_STREAM && message.msg_namelen > sizeof(sa_family_t)) {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(&name);
      look.message.from.data.assign(bytes, bytes + message.msg_namelen);
    }
    for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part))
      take_apart(*part, look);
    return look;
  }

  static void take_apart(const cmsghdr& part, UnreadLook& look) {
    const auto* data = CMSG_DATA(const_cast<cmsghdr*>(&part));
    const std::size_t size = part.cmsg_len - CMSG_LEN(0);
    if (part.cmsg_level != SOL_SOCKET) {
      look.tells_the_way = true;
    } else if (part.cmsg_type == SCM_RIGHTS || part.cmsg_type == kScmPidfd) {
      for (std::size_t i = 0; i < size / sizeof(int); ++i) {
        int number = -1;
        std::memcpy(&number, data + i * sizeof number, sizeof number);
        os::UniqueFd fd(number);
        if (part.cmsg_type == SCM_RIGHTS) look.descriptors.push_back(std::move(fd));
      }
    } else if (part.cmsg_type == SCM_CREDENTIALS && size >= sizeof(ucred)) {
      ucred sender = {};
      std::memcpy(&sender, data, sizeof sender);
      look.message.credentials = SenderCredentials{sender.pid, sender.uid, sender.gid};
    }
  }

  // Descriptors come with the first byte that they were sent with, and a read(2) may give bytes from before
  // together with these: whoever reads less at a time must not find them too early. A look never tells where
  // that byte is, for it reports them ahead, but one whose last byte cannot be written ends before the bytes
  // that it does not have the room for (unix_stream_read_generic() of the kernel).
  Result<void> split_off_what_comes_before(UnreadLook& look, std::int64_t offset) {
    auto& bytes = look.message.data.data;
    const int from = static_cast<int>(offset);
    TRY(os::set_socket_option(reading_.fd, SOL_SOCKET, SO_PEEK_OFF, from, "SO_PEEK_OFF"));
    at_ = -1;
    const ssize_t before =
        ::recv(reading_.fd.get(), buffer_.end() - (bytes.size() - 1), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
    if (before < 0 && errno != EFAULT) return ErrnoErr("looking for where descriptors are");
    if (before <= 0) return {};
    const auto boundary = bytes.begin() + std::min<std::ptrdiff_t>(before, std::ssize(bytes));
    UnreadLook plain;
    plain.message = look.message;
    plain.message.data.data.assign(bytes.begin(), boundary);
    bytes.erase(bytes.begin(), boundary);
    add(std::move(plain));
    return {};
  }

  void add(UnreadLook look) {
    auto& unread = reading_.socket.unread;
    const bool plain = look.descriptors.empty();
    if (is_stream() && plain && !unread.empty() && last_is_plain_ &&
        unread.back().credentials == look.message.credentials) {
      auto& bytes = unread.back().data.data;
      bytes.insert(bytes.end(), look.message.data.data.begin(), look.message.data.data.end());
      return;
    }
    last_is_plain_ = plain;
    unread.push_back(std::move(look.message));
    if (!plain) reading_.in_flight.push_back({unread.size() - 1, std::move(look.descriptors)});
  }

  SocketReading& reading_;
  Buffer buffer_;
  int at_ = -1;  // what SO_PEEK_OFF says by now
  bool last_is_plain_ = false;
};

}  // namespace

Result<void> read_unread_messages(SocketReading& reading, std::int64_t most) {
  const int before = number_option(reading.fd, SOL_SOCKET, SO_PEEK_OFF);
  const auto promise = reading.will_put_back(SOL_SOCKET, SO_PEEK_OFF, before);
  auto read = Messages(reading).read(most);
  TRY(os::set_socket_option(reading.fd, SOL_SOCKET, SO_PEEK_OFF, before, "SO_PEEK_OFF"));
  return read;
}

}  // namespace upkeep::engine
