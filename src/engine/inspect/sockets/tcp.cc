#include "engine/inspect/sockets/tcp.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "engine/inspect/calls/look.h"
#include "engine/inspect/calls/reason.h"
#include "engine/inspect/sockets/socket_questions.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

using os::socket_option;

constexpr std::uint8_t kMicrosecondTimestamps = 64;  // TCPI_OPT_USEC_TS of linux/tcp.h, 6.7
constexpr std::uint32_t kShutReading = 1, kShutWriting = 2;

bool has_sent_fin(std::uint32_t state) {
  return state == os::kTcpFinWait1 || state == os::kTcpFinWait2 || state == os::kTcpLastAck ||
         state == os::kTcpClosing;
}

Result<std::uint32_t> queue_size(os::Fd fd, unsigned long which, const char* name) {
  int size = 0;
  if (::ioctl(fd.get(), which, &size) < 0) return ErrnoErr("{}", name);
  return static_cast<std::uint32_t>(size);
}

// A mark of urgent data stops every look into the queue.
bool has_urgent_data(os::Fd fd) {
  char byte = 0;
  return ::recv(fd.get(), &byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT) >= 0 || errno == EAGAIN;
}

// All of the queue that has been chosen.
Result<std::vector<std::uint8_t>> peek(os::Fd fd, std::size_t expected) {
  // The oldest segment of the send queue stays whole until all of it is acknowledged.
  constexpr std::size_t kOneSegment = std::size_t{1} << 16U;
  std::vector<std::uint8_t> bytes(expected + 2 * kOneSegment);
  const ssize_t size = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  if (size < 0 && errno != EAGAIN) return ErrnoErr("looking into a queue");
  bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  if (bytes.size() < expected)
    return Err("only {} of {} bytes of a queue can be seen", bytes.size(), expected);
  return bytes;
}

Result<void> read_receive_queue(os::Fd fd, Socket& socket) {
  TRY_ASSIGN(const auto unread, queue_size(fd, SIOCINQ, "SIOCINQ"));
  TRY(os::choose_repair_queue(fd, TCP_RECV_QUEUE));
  const auto next = socket_option<std::uint32_t>(fd, IPPROTO_TCP, TCP_QUEUE_SEQ);
  if (!next) return ErrnoErr("TCP_QUEUE_SEQ");
  socket.connection->rcv_nxt = *next;
  if (unread == 0) return {};
  TRY_ASSIGN(auto bytes, peek(fd, unread));
  if (bytes.size() != unread) return Err("{} bytes are unread, and {} can be seen", unread, bytes.size());
  socket.unread.emplace_back().data.data = std::move(bytes);
  return {};
}

Result<void> read_send_queue(os::Fd fd, TcpConnection& connection) {
  TRY_ASSIGN(auto unacknowledged, queue_size(fd, SIOCOUTQ, "SIOCOUTQ"));
  TRY_ASSIGN(connection.unsent, queue_size(fd, SIOCOUTQNSD, "SIOCOUTQNSD"));
  TRY(os::choose_repair_queue(fd, TCP_SEND_QUEUE));
  const auto next = socket_option<std::uint32_t>(fd, IPPROTO_TCP, TCP_QUEUE_SEQ);
  if (!next) return ErrnoErr("TCP_QUEUE_SEQ");
  connection.write_seq = *next;
  if (unacknowledged != 0 && has_sent_fin(connection.state)) --unacknowledged;
  if (unacknowledged == 0) return {};
  TRY_ASSIGN(auto bytes, peek(fd, unacknowledged));
  bytes.erase(bytes.begin(), bytes.end() - unacknowledged);
  connection.unacknowledged.data = std::move(bytes);
  return {};
}

Result<void> read_in_repair_mode(os::Fd fd, Socket& socket) {
  auto& connection = *socket.connection;
  TRY_IN("what was received", read_receive_queue(fd, socket));
  TRY_IN("what is to be sent", read_send_queue(fd, connection));
  const auto window = socket_option<tcp_repair_window>(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW);
  if (!window) return ErrnoErr("TCP_REPAIR_WINDOW");
  connection.window = {window->snd_wl1, window->snd_wnd, window->max_window, window->rcv_wnd,
                       window->rcv_wup};
  const auto mss = socket_option<std::uint32_t>(fd, IPPROTO_TCP, TCP_MAXSEG);
  if (!mss) return ErrnoErr("TCP_MAXSEG");
  connection.mss = *mss;
  if (!connection.timestamp) return {};
  const auto now = socket_option<std::uint32_t>(fd, IPPROTO_TCP, TCP_TIMESTAMP);
  if (!now) return ErrnoErr("TCP_TIMESTAMP");
  // Its lowest bit says on some kernels that the unit is the microsecond; on older ones it is part of the
  // value.
  connection.timestamp = *now & ~1U;
  return {};
}

Result<void> read_connection(SocketReading& reading, const tcp_info& info) {
  const auto fd = reading.fd;
  auto& socket = reading.socket;
  auto& connection = *socket.connection;
  if ((info.tcpi_options & TCPI_OPT_WSCALE) != 0) {
    connection.snd_wscale = info.tcpi_snd_wscale;
    connection.rcv_wscale = info.tcpi_rcv_wscale;
  }
  connection.sack = (info.tcpi_options & TCPI_OPT_SACK) != 0;
  if ((info.tcpi_options & TCPI_OPT_TIMESTAMPS) != 0) connection.timestamp = 0;
  connection.microseconds = (info.tcpi_options & kMicrosecondTimestamps) != 0;
  connection.window_clamp = socket_option<std::uint32_t>(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP).value_or(0);
  if (has_urgent_data(fd)) {
    reading.refuse("urgent data waits in it", kTryAgain);
    return {};
  }
  const int peek_offset = socket_option<int>(fd, SOL_SOCKET, SO_PEEK_OFF).value_or(-1), from_start = -1;
  const auto promise = reading.will_put_back(SOL_SOCKET, SO_PEEK_OFF, peek_offset);
  if (peek_offset >= 0) TRY(os::set_socket_option(fd, SOL_SOCKET, SO_PEEK_OFF, from_start, "SO_PEEK_OFF"));
  auto read = [&]() -> Result<void> {
    TRY_ASSIGN(auto repair, os::TcpRepairMode::enter(fd, reading.survivor));
    if (repair.was_in_it()) reading.refuse(kLeftInRepairMode);
    TRY(read_in_repair_mode(fd, socket));
    return repair.leave(os::TcpRepairMode::Leaving::silently);
  }();
  if (peek_offset >= 0) TRY(os::set_socket_option(fd, SOL_SOCKET, SO_PEEK_OFF, peek_offset, "SO_PEEK_OFF"));
  return read;
}

// Neither connected nor listening. What has been connected and has ended cannot read nor write any more.
void read_closed(SocketReading& reading) {
  const auto events = events_now(reading.fd);
  if ((events & POLLERR) != 0)
    reading.refuse("its connection has failed, which nobody has looked at yet", "try again");
  if ((events & POLLRDHUP) == 0) return;
  int unread = 0;
  if (::ioctl(reading.fd.get(), SIOCINQ, &unread) == 0 && unread > 0)
    reading.refuse("its connection has ended, with data that nobody has read", kTryAgain);
  reading.socket.shutdown = kShutReading | kShutWriting;
  reading.socket.local.data.resize(sizeof(sa_family_t));  // the port is no longer its own
}

// What the fields mean while a socket listens: tcp_get_info() of the kernel.
void read_listener(SocketReading& reading, const tcp_info& info) {
  reading.socket.backlog = info.tcpi_sacked;
  if (info.tcpi_unacked != 0)
    reading.losses.push_back({fmt::format("{} connections wait to be accepted", info.tcpi_unacked),
                              "whoever has made them will find them reset, and has to try again"});
}

bool can_be_rebuilt(std::uint32_t state) {
  return state == os::kTcpEstablished || state == os::kTcpCloseWait || has_sent_fin(state);
}

}  // namespace

Result<void> read_tcp(SocketReading& reading) {
  auto& socket = reading.socket;
  const auto info = socket_option<tcp_info>(reading.fd, IPPROTO_TCP, TCP_INFO);
  if (!info) return ErrnoErr("TCP_INFO");
  if (socket.listening) {
    read_listener(reading, *info);
    return {};
  }
  if (info->tcpi_state == os::kTcpClose) {
    read_closed(reading);
    return {};
  }
  TRY(read_remote_name(reading));
  if (info->tcpi_state == os::kTcpSynSent) {
    socket.connecting = true;
    return read_listed_remote(reading, "tcp");
  }
  if (!can_be_rebuilt(info->tcpi_state)) {
    reading.refuse(fmt::format("it is in between two states (TCP state {})", info->tcpi_state), "try again");
    return {};
  }
  const auto events = events_now(reading.fd);
  if ((events & POLLERR) != 0)
    reading.refuse("an error or a notification in it has not been looked at", "try again");
  socket.shutdown =
      ((events & POLLRDHUP) != 0 ? kShutReading : 0U) | (has_sent_fin(info->tcpi_state) ? kShutWriting : 0U);
  socket.connection.emplace().state = info->tcpi_state;
  if (!stand_still(reading.tasks)) return {};  // the task itself may be using it
  return read_connection(reading, *info);
}

}  // namespace upkeep::engine
