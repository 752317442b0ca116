#include "engine/rebuild/sockets/tcp.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <span>

#include "engine/rebuild/sockets/socket_options.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

using os::set_socket_option;

constexpr std::uint8_t kMicrosecondTimestamps = 64;  // TCPI_OPT_USEC_TS of linux/tcp.h, 6.7
constexpr std::uint32_t kShutReading = 1, kShutWriting = 2;

Result<void> write_queue(os::Fd fd, std::span<const std::uint8_t> bytes) {
  constexpr std::size_t kAtOnce = 32U << 10U;  // what goes into one buffer of the kernel's
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), kAtOnce));
    const ssize_t sent = ::send(fd.get(), part.data(), part.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0) return ErrnoErr("filling a queue, {} bytes to go", bytes.size());
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<void> set_sequence(os::Fd fd, int queue, std::uint32_t number) {
  TRY(os::choose_repair_queue(fd, queue));
  return set_socket_option(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, number, "TCP_QUEUE_SEQ");
}

std::span<const std::uint8_t> unread_bytes(const Socket& socket) {
  if (socket.unread.empty()) return {};
  return socket.unread.front().data.data;
}

// What was agreed upon when the connection was made.
Result<void> set_agreed_options(os::Fd fd, const TcpConnection& connection) {
  constexpr std::uint32_t kMss = 2, kWindow = 3, kSackPermitted = 4, kTimestamp = 8;  // TCPOPT_*, RFC 9293
  std::vector<tcp_repair_opt> options = {{kMss, connection.mss}};
  if (connection.snd_wscale)
    options.push_back({kWindow, *connection.snd_wscale | connection.rcv_wscale.value_or(0) << 16U});
  if (connection.sack) options.push_back({kSackPermitted, 0});
  if (connection.timestamp) options.push_back({kTimestamp, 0});
  if (::setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR_OPTIONS, options.data(),
                   static_cast<socklen_t>(options.size() * sizeof options.front())) < 0)
    return ErrnoErr("TCP_REPAIR_OPTIONS");
  if (!connection.timestamp) return {};
  // They go on from where they were: the peer takes nothing that is older.
  const std::uint32_t value = (*connection.timestamp & ~1U) | (connection.microseconds ? 1U : 0U);
  TRY(set_socket_option(fd, IPPROTO_TCP, TCP_TIMESTAMP, value, "TCP_TIMESTAMP"));
  const auto info = os::socket_option<tcp_info>(fd, IPPROTO_TCP, TCP_INFO);
  if (connection.microseconds && (!info || (info->tcpi_options & kMicrosecondTimestamps) == 0))
    return Err("its timestamps count microseconds, which this kernel's cannot");
  return {};
}

// With an unknown window, which is one of nothing, the kernel keeps what it is given to send.
Result<void> write_unsent(os::Fd fd, std::span<const std::uint8_t> bytes, bool with_fin) {
  const int off = TCP_REPAIR_OFF_NO_WP, on = TCP_REPAIR_ON;
  TRY(set_socket_option(fd, IPPROTO_TCP, TCP_REPAIR, off, "leave repair mode"));
  auto written = write_queue(fd, bytes);
  const bool shut = !with_fin || ::shutdown(fd.get(), SHUT_WR) == 0;
  const int code = errno;
  TRY(set_socket_option(fd, IPPROTO_TCP, TCP_REPAIR, on, "enter repair mode again"));
  if (!shut) return Err("shutdown: {}", errno_text(code));
  return written;
}

// What was sent is not sent again now, but when nobody acknowledges it.
Result<void> fill_send_queue(os::Fd fd, const Socket& socket) {
  const auto& connection = *socket.connection;
  const bool fin = (socket.shutdown & kShutWriting) != 0;
  const bool fin_unsent = fin && connection.unsent > 0;
  const auto all = std::span(connection.unacknowledged.data);
  const std::size_t unsent = std::min<std::size_t>(connection.unsent - (fin_unsent ? 1U : 0U), all.size());
  TRY(os::choose_repair_queue(fd, TCP_SEND_QUEUE));
  TRY(write_queue(fd, all.first(all.size() - unsent)));
  if (connection.unsent > 0) return write_unsent(fd, all.last(unsent), fin_unsent);
  if (fin && ::shutdown(fd.get(), SHUT_WR) < 0) return ErrnoErr("shutdown");
  return {};
}

Result<void> fill_queues(os::Fd fd, const Socket& socket, const BufferSizes& afterwards) {
  const auto unread = unread_bytes(socket);
  // Each piece is accounted with what surrounds it.
  constexpr std::size_t kAccounted = 4, kRoom = std::size_t{1} << 20U;
  const auto room = [](std::size_t bytes) {
    return static_cast<int>(std::min<std::size_t>(kAccounted * bytes + kRoom, std::size_t{1} << 30U));
  };
  TRY(set_buffer_sizes(fd, {room(socket.connection->unacknowledged.data.size()), room(unread.size()), 0}));
  TRY(os::choose_repair_queue(fd, TCP_RECV_QUEUE));
  TRY_IN("what was received", write_queue(fd, unread));
  TRY_IN("what is to be sent", fill_send_queue(fd, socket));
  return set_buffer_sizes(fd, afterwards);
}

Result<void> set_windows(os::Fd fd, const TcpConnection& connection) {
  const auto& window = connection.window;
  const tcp_repair_window value = {window.snd_wl1, window.snd_wnd, window.max_window, window.rcv_wnd,
                                   window.rcv_wup};
  TRY(set_socket_option(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, value, "TCP_REPAIR_WINDOW"));
  if (connection.window_clamp == 0) return {};
  return set_socket_option(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, connection.window_clamp, "TCP_WINDOW_CLAMP");
}

// Sequence numbers before the first byte of each queue. A FIN of the peer's takes one number behind the data
// that it follows: nobody sees that the data are one further instead. Our own is sent again, also where it
// has been acknowledged: the answer says so once more.
Result<void> set_sequences(os::Fd fd, const Socket& socket) {
  const auto& connection = *socket.connection;
  const auto to_send = static_cast<std::uint32_t>(connection.unacknowledged.data.size()) +
                       ((socket.shutdown & kShutWriting) != 0 ? 1U : 0U);
  const auto unread = static_cast<std::uint32_t>(unread_bytes(socket).size());
  TRY(set_sequence(fd, TCP_SEND_QUEUE, connection.write_seq - to_send));
  return set_sequence(fd, TCP_RECV_QUEUE, connection.rcv_nxt - unread);
}

// Without waiting for the answer.
Result<void> ask(os::Fd fd, const Bytes& remote) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0) return ErrnoErr("F_SETFL");
  const bool asked = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(remote.data.data()),
                               static_cast<socklen_t>(remote.data.size())) == 0 ||
                     errno == EINPROGRESS;
  const int code = errno;
  if (::fcntl(fd.get(), F_SETFL, flags) < 0) return ErrnoErr("F_SETFL");
  if (!asked) return Err("connect: {}", errno_text(code));
  return {};
}

}  // namespace

Result<os::UniqueFd> make_connection(const Socket& socket) {
  os::UniqueFd fd(::socket(socket.family, socket.type | SOCK_CLOEXEC, socket.protocol));
  if (!fd.valid()) return ErrnoErr("socket");
  TRY(set_options(fd, socket));
  const auto sizes = buffer_sizes(fd);
  TRY(os::enter_repair_mode(fd));
  TRY(set_sequences(fd, socket));
  TRY(bind_name(fd, socket));  // repair mode lets it have any port
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(socket.remote.data.data()),
                static_cast<socklen_t>(socket.remote.data.size())) < 0)
    return ErrnoErr("connect");
  TRY(set_agreed_options(fd, *socket.connection));
  TRY(fill_queues(fd, socket, sizes));
  if ((socket.shutdown & kShutReading) != 0 && ::shutdown(fd.get(), SHUT_RD) < 0) return ErrnoErr("shutdown");
  TRY(set_windows(fd, *socket.connection));
  TRY(os::choose_repair_queue(fd, TCP_NO_QUEUE));
  return fd;
}

Result<void> HeldConnections::go_live() {
  Result<void> first;
  for (auto& connection : connections_) {
    auto left = os::leave_repair_mode(connection.fd, connection.reuse_address);
    if (!left && first) first = std::move(left);
  }
  for (auto& one : connecting_) {
    auto asked = ask(one.fd, one.remote);
    if (!asked && first) first = std::move(asked);
  }
  connecting_.clear();
  networks_.clear();
  return first;
}

void HeldConnections::ask_peers() {
  for (const auto& connection : connections_) {
    auto mode = os::TcpRepairMode::enter(connection.fd, nullptr);  // it may have ended by now
    if (mode) (void)mode->leave(os::TcpRepairMode::Leaving::with_window_probe);
  }
  connections_.clear();
}

Result<void> HeldConnections::add_connecting(os::Fd fd, const Socket& socket) {
  os::UniqueFd second(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!second.valid()) return ErrnoErr("dup");
  connecting_.push_back({std::move(second), socket.remote});
  return {};
}

}  // namespace upkeep::engine
