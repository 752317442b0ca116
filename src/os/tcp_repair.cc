#include "os/tcp_repair.h"

#include <linux/tcp.h>
#include <netinet/in.h>

namespace upkeep::os {

bool in_repair_mode(Fd fd) { return socket_option<int>(fd, IPPROTO_TCP, TCP_REPAIR).value_or(0) != 0; }

Result<void> enter_repair_mode(Fd fd) {
  return set_socket_option(fd, IPPROTO_TCP, TCP_REPAIR, int{TCP_REPAIR_ON}, "enter repair mode");
}

Result<void> leave_repair_mode(Fd fd, int reuse_address) {
  TRY(set_socket_option(fd, IPPROTO_TCP, TCP_REPAIR, int{TCP_REPAIR_OFF_NO_WP}, "leave repair mode"));
  return set_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, reuse_address, "put SO_REUSEADDR back");
}

Result<void> choose_repair_queue(Fd fd, int queue) {
  return set_socket_option(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue, "choose the queue");
}

Result<TcpRepairMode> TcpRepairMode::enter(Fd fd, Survivor* survivor) {
  TcpRepairMode mode;
  mode.was_in_it_ = in_repair_mode(fd);
  mode.queue_ = socket_option<int>(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE).value_or(TCP_NO_QUEUE);
  mode.reuse_address_ = socket_option<int>(fd, SOL_SOCKET, SO_REUSEADDR).value_or(0);
  const int number = fd.get();
  if (survivor != nullptr && mode.was_in_it_)
    mode.promise_ = survivor->promise({{number, IPPROTO_TCP, TCP_REPAIR_QUEUE, mode.queue_}});
  if (survivor != nullptr && !mode.was_in_it_)
    mode.promise_ = survivor->promise({{number, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP},
                                       {number, SOL_SOCKET, SO_REUSEADDR, mode.reuse_address_}});
  if (!mode.was_in_it_) TRY(enter_repair_mode(fd));
  mode.fd_ = number;
  return mode;
}

Result<void> TcpRepairMode::leave(Leaving how) {
  if (fd_ < 0) return {};
  const Fd fd(std::exchange(fd_, -1));
  const auto kept_until_here = std::move(promise_);
  if (was_in_it_) return choose_repair_queue(fd, queue_);
  if (how == Leaving::silently) return leave_repair_mode(fd, reuse_address_);
  TRY(set_socket_option(fd, IPPROTO_TCP, TCP_REPAIR, int{TCP_REPAIR_OFF}, "leave repair mode"));
  return set_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, reuse_address_, "put SO_REUSEADDR back");
}

}  // namespace upkeep::os
