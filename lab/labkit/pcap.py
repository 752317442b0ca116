"""Reads what tcpdump wrote (pcap, Ethernet): just enough of IPv4, IPv6 and TCP to ask questions.

What is asked of the TCP connections in it is in labkit/tcp_follow.py.
"""

import dataclasses
import socket
import struct

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


@dataclasses.dataclass(frozen=True)
class Segment:
  """One TCP segment. `time` is CLOCK_REALTIME of the host, in seconds."""
  time: float
  source: str
  sport: int
  target: str
  dport: int
  seq: int
  ack: int
  flags: int
  window: int
  payload: bytes
  length: int = None           # bytes that were sent; more than `payload` has where the capture cut the packet short
  sacks: tuple = ()            # ((left, right), ...) of the SACK option

  def __post_init__(self):
    if self.length is None:
      object.__setattr__(self, "length", len(self.payload))

  @property
  def is_reset(self):
    return bool(self.flags & RST)

  def __str__(self):
    names = "".join(n for bit, n in ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, ".")) if self.flags & bit)
    return (f"{self.time:.6f} {self.source}:{self.sport} > {self.target}:{self.dport} [{names}] seq {self.seq} "
            f"ack {self.ack} length {self.length}")


def packets(path):
  """Yields (time, link-layer frame). A capture cut short in its last packet is read as far as it goes."""
  with open(path, "rb") as f:
    head = f.read(24)
    if len(head) < 24:
      return
    magic = head[:4]
    order = "<" if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    grain = 1e-9 if magic in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e-6
    while len(record := f.read(16)) == 16:
      seconds, part, length, _ = struct.unpack(order + "IIII", record)
      data = f.read(length)
      if len(data) < length:
        return
      yield seconds + part * grain, data


def tcp(path):
  """Yields every TCP segment of an Ethernet capture (without IP fragments or IPv6 extension headers)."""
  for when, frame in packets(path):
    if len(frame) < 14:
      continue
    kind, = struct.unpack_from("!H", frame, 12)
    ip = frame[14:]
    if kind == 0x0800 and len(ip) >= 20 and ip[9] == 6:
      start, total = (ip[0] & 15) * 4, struct.unpack_from("!H", ip, 2)[0]
      source, target = socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20])
    elif kind == 0x86dd and len(ip) >= 40 and ip[6] == 6:
      start, total = 40, 40 + struct.unpack_from("!H", ip, 4)[0]
      source, target = (socket.inet_ntop(socket.AF_INET6, ip[a:a + 16]) for a in (8, 24))
    else:
      continue
    if len(ip) < start + 20:
      continue
    sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", ip, start)
    data = start + (offset >> 4) * 4
    # A length of 0 is a packet of more than 64 KB, put together by the network card (BIG TCP).
    payload = bytes(ip[data:total or len(ip)])
    yield Segment(when, source, sport, target, dport, seq, ack, flags, window, payload,
                  total - data if total else len(payload), _sacks(ip[start + 20:data]))


def _sacks(options):
  at = 0
  while at + 1 < len(options) and options[at] != 0:
    if options[at] == 1:
      at += 1
      continue
    size = options[at + 1]
    if size < 2:
      break
    if options[at] == 5:
      body = options[at + 2:at + size]
      return tuple(struct.unpack_from("!II", body, n) for n in range(0, len(body) - 7, 8))
    at += size
  return ()


def resets(path, port=None):
  """The RST segments of a capture, of one server port or of all."""
  return [s for s in tcp(path) if s.is_reset and port in (None, s.sport, s.dport)]
