#include "engine/model/sockets/tcp.h"

#include <netinet/tcp.h>

namespace upkeep::engine {
namespace {

// A FIN is not received anew, and one that was sent is sent once more (rebuild/sockets/tcp.cc).
std::uint32_t state_in_repair(std::uint32_t state) {
  switch (state) {
    case TCP_CLOSE_WAIT:
      return TCP_ESTABLISHED;
    case TCP_FIN_WAIT2:
    case TCP_LAST_ACK:
    case TCP_CLOSING:
      return TCP_FIN_WAIT1;
    default:
      return state;
  }
}

}  // namespace

Result<void> validate(const TcpConnection& connection, const KnownObjects&) {
  constexpr std::uint32_t kLargestScale = 14, kClosing = 11;
  constexpr std::size_t kLargestQueue = std::size_t{1} << 30U;
  if (connection.state == 0 || connection.state > kClosing) return Err("it is connected to nothing");
  if (connection.unacknowledged.data.size() > kLargestQueue ||
      connection.unsent > connection.unacknowledged.data.size() + 1)
    return Err("its queues are impossible");
  if (connection.snd_wscale.has_value() != connection.rcv_wscale.has_value() ||
      connection.snd_wscale.value_or(0) > kLargestScale || connection.rcv_wscale.value_or(0) > kLargestScale)
    return Err("its windows are impossible");
  return {};
}

void make_comparable(TcpConnection& value, const TcpConnection*, Comparison&) {
  value.state = state_in_repair(value.state);
  if (value.timestamp) value.timestamp = 0;
  // What nobody acknowledges is sent anew after 3 s (TCP_TIMEOUT_FALLBACK), before it is looked at where
  // there is much to make: lost, for the network is closed, but the kernel has said then what it has room
  // for.
  value.window.rcv_wnd = value.window.rcv_wup = 0;
  value.unsent = 0;
}

}  // namespace upkeep::engine
