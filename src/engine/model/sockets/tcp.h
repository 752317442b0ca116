#pragma once
// TCP connections, tcp(7).

#include <cstdint>
#include <optional>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// TCP_REPAIR_WINDOW: struct tcp_repair_window of linux/tcp.h.
struct TcpWindow {
  std::uint32_t snd_wl1 = 0, snd_wnd = 0, max_window = 0, rcv_wnd = 0, rcv_wup = 0;
  bool operator==(const TcpWindow&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("snd_wl1", self.snd_wl1);
    visit("snd_wnd", self.snd_wnd);
    visit("max_window", self.max_window);
    visit("rcv_wnd", self.rcv_wnd);
    visit("rcv_wup", self.rcv_wup);
  }
};

// A TCP connection as repair mode shows it. What has been received and not read is in Socket::unread.
struct TcpConnection {
  std::uint32_t state = 0;  // of tcp_states.h
  Bytes unacknowledged;     // from the oldest byte that the peer has not acknowledged
  // How much of that, counted from its end, has not been sent; with one more where our FIN has not been sent.
  std::uint32_t unsent = 0;
  std::uint32_t write_seq = 0, rcv_nxt = 0;  // behind the last byte in each direction, FIN included
  std::uint32_t mss = 0;                     // what the peer takes at most
  std::optional<std::uint32_t> snd_wscale, rcv_wscale;
  bool sack = false;
  std::optional<std::uint32_t> timestamp;  // of the last moment; none: the connection has no timestamps
  bool microseconds = false;               // of the timestamps (6.7 and newer)
  TcpWindow window;
  std::uint32_t window_clamp = 0;
  bool operator==(const TcpConnection&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("state", self.state);
    visit("unacknowledged", self.unacknowledged);
    visit("unsent", self.unsent);
    visit("write_seq", self.write_seq);
    visit("rcv_nxt", self.rcv_nxt);
    visit("mss", self.mss);
    visit("snd_wscale", self.snd_wscale);
    visit("rcv_wscale", self.rcv_wscale);
    visit("sack", self.sack);
    visit("timestamp", self.timestamp);
    visit("microseconds", self.microseconds);
    visit("window", self.window);
    visit("window_clamp", self.window_clamp);
  }
};

Result<void> validate(const TcpConnection& connection, const KnownObjects& known);
// Its timestamps go on, its timers too.
void make_comparable(TcpConnection& value, const TcpConnection* other, Comparison& comparison);

}  // namespace upkeep::engine
