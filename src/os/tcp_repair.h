#pragma once
// Repair mode of TCP sockets (TCP_REPAIR, since Linux 3.5; CAP_NET_ADMIN): in it a socket shows its queues
// and sequence numbers and takes new ones, and closing it sends nothing. It still acknowledges what arrives.
// Going in and coming out overwrite SO_REUSEADDR, which is put back here.

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "common/result.h"
#include "os/fd.h"
#include "os/survivor.h"

namespace upkeep::os {

// tcp_states.h of the kernel; also the states of Unix sockets in unix_diag.
enum TcpState : std::uint8_t {
  kTcpEstablished = 1,
  kTcpSynSent = 2,
  kTcpSynReceived = 3,
  kTcpFinWait1 = 4,
  kTcpFinWait2 = 5,
  kTcpTimeWait = 6,
  kTcpClose = 7,
  kTcpCloseWait = 8,
  kTcpLastAck = 9,
  kTcpListen = 10,
  kTcpClosing = 11
};

// Nothing where the kernel does not tell.
template <typename T>
std::optional<T> socket_option(Fd fd, int level, int name) {
  T value = {};
  socklen_t size = sizeof value;
  if (::getsockopt(fd.get(), level, name, &value, &size) < 0) return std::nullopt;
  return value;
}
template <typename T>
Result<void> set_socket_option(Fd fd, int level, int name, const T& value, const char* what) {
  if (::setsockopt(fd.get(), level, name, &value, sizeof value) < 0) return ErrnoErr("{}", what);
  return {};
}

bool in_repair_mode(Fd fd);
Result<void> enter_repair_mode(Fd fd);
// Without a packet.
Result<void> leave_repair_mode(Fd fd, int reuse_address);
// TCP_REPAIR_QUEUE: which one the next calls are about; TCP_NO_QUEUE, TCP_RECV_QUEUE, TCP_SEND_QUEUE of
// linux/tcp.h.
Result<void> choose_repair_queue(Fd fd, int queue);

// A socket in repair mode until this ends, or we do, if SURVIVOR is there to see to it: tasks that have it
// must not find it in that mode. One that was in it before stays in it; its choice of a queue is put back.
class TcpRepairMode {
 public:
  // In what way it is left: a window probe tells the peer where we are, and asks where it is.
  enum class Leaving { silently, with_window_probe };

  static Result<TcpRepairMode> enter(Fd fd, Survivor* survivor);
  TcpRepairMode(TcpRepairMode&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        reuse_address_(other.reuse_address_),
        queue_(other.queue_),
        was_in_it_(other.was_in_it_),
        promise_(std::move(other.promise_)) {}
  TcpRepairMode& operator=(TcpRepairMode&&) = delete;
  ~TcpRepairMode() { (void)leave(Leaving::silently); }

  bool was_in_it() const { return was_in_it_; }
  // Only the first call does something.
  Result<void> leave(Leaving how);

 private:
  TcpRepairMode() = default;
  int fd_ = -1;
  int reuse_address_ = 0, queue_ = 0;
  bool was_in_it_ = false;
  Survivor::Promise promise_;
};

}  // namespace upkeep::os
