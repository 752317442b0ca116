"""Follows the TCP connections of a capture and tells whether an acknowledged byte was lost.

An acknowledgement is a promise: the bytes are there, the sender may forget them. Whoever comes back from a snapshot that is
older than what it had acknowledged breaks it, and nobody can repair that. What shows it from outside, each a Violation:
  went back   an endpoint acknowledges less than it had acknowledged before
  asks again  its SACK blocks leave a gap below what it has acknowledged (RFC 2018; the first block alone may lie below, to
              report what came twice: RFC 2883)
  changed     bytes sent again are not those that were sent before
  never sent  it acknowledges, or reports by SACK, what the other side has not sent

SACKed bytes may be given up again (RFC 2018, section 8): that is no violation. Sequence numbers wrap at 2^32; inside they count on.
"""

import dataclasses

from . import pcap

WENT_BACK, ASKS_AGAIN, CHANGED, NEVER_SENT = "went back", "asks again", "changed", "never sent"
KEEP = 1 << 20                 # bytes kept below the acknowledgement, for comparing with what is sent twice needlessly


@dataclasses.dataclass(frozen=True)
class Violation:
  time: float                  # CLOCK_REALTIME of the capturing host, in seconds
  connection: str
  kind: str
  text: str

  def __str__(self):
    return f"{self.time:.6f} {self.connection}: {self.text}"


@dataclasses.dataclass
class Followed:
  """One connection: how much of it was followed."""
  name: str
  port: int                    # the smaller of the two: the server's
  first: float
  last: float
  bytes: int = 0               # payload that was acknowledged, both directions
  progress_began: float = None # when the first and the last of them were acknowledged
  progress_ended: float = None

  def progress(self, when, new):
    if new:
      self.bytes += new
      self.progress_began = self.progress_began or when
      self.progress_ended = when

  def crosses(self, moment):
    """Whether bytes were acknowledged on it before that moment and after it."""
    return self.progress_began is not None and self.progress_began < moment < self.progress_ended


class Stream:
  """The bytes that one endpoint sends, at counted-on sequence numbers, and how far the other has acknowledged them."""

  def __init__(self):
    self.base = None             # sequence number of content[0]; None until the first segment or acknowledgement
    self.content = bytearray()
    self.gaps = []               # [begin, end) inside that nobody has seen being sent
    self.acked = self.fin = None # fin: the number that FIN takes up, like a byte
    self.from_start = False      # everything from `base` on must have been seen: the SYN was, or the two sides once agreed

  @property
  def end(self):
    return self.base + len(self.content)

  def start(self, number, from_start):
    self.base, self.from_start = number, from_start

  def count_on(self, number):
    """The 32-bit number of a segment, counted on from what is known."""
    if self.base is None:
      return number
    delta = (number - self.end) & 0xffffffff
    return self.end + (delta - (1 << 32) if delta >= 1 << 31 else delta)

  def sent(self, at, data):
    """Adds a segment. The first offset at which it differs from what was sent before, or None."""
    if at < self.base:           # begun before the capture, or forgotten meanwhile
      data, at = data[self.base - at:], self.base
    if not data:
      return None
    if at > self.end:
      self.gaps.append((self.end, at))
      self.content += bytes(at - self.end)
    known = max(0, min(len(data), self.end - at))
    differs = self._compare(at, data[:known])
    self._fill(at, data[:known])
    self.content += data[known:]
    return differs

  def _compare(self, at, data):
    for begin, end in self._seen(at, at + len(data)):
      old, new = self.content[begin - self.base:end - self.base], data[begin - at:end - at]
      if old != new:
        return begin + next(n for n, (a, b) in enumerate(zip(old, new)) if a != b)
    return None

  def _seen(self, at, end):
    """The parts of [at, end) outside the gaps."""
    for begin, stop in sorted(self.gaps):
      if begin < end and stop > at:
        if begin > at:
          yield at, begin
        at = max(at, stop)
    if at < end:
      yield at, end

  def _fill(self, at, data):
    end, left = at + len(data), []
    for begin, stop in self.gaps:
      low, high = max(begin, at), min(stop, end)
      if low >= high:
        left.append((begin, stop))
        continue
      self.content[low - self.base:high - self.base] = data[low - at:high - at]
      left += [part for part in ((begin, low), (high, stop)) if part[0] < part[1]]
    self.gaps = left

  def missing_below(self, number):
    """The first byte below that number that nobody has seen being sent, or None."""
    begins = [begin for begin, _ in self.gaps if begin < number] + ([self.end] if self.end < number else [])
    return min(begins, default=None)

  def forget_below(self, number):
    del self.content[:max(0, number - self.base)]
    self.base = max(self.base, number)
    self.gaps = [(max(begin, number), end) for begin, end in self.gaps if end > number]

  def acknowledge(self, number):
    """Takes note; how many bytes of payload are new."""
    if self.missing_below(number) is not None:   # begun before the capture, or reported already: not again with each segment
      self.forget_below(number)
    old, self.acked = self.acked, number
    self.from_start = self.from_start or (number == self.end and bool(self.content))
    if number - self.base > 2 * KEEP:
      self.forget_below(number - KEEP)
    if old is None:
      return 0
    return number - old - (self.fin is not None and old <= self.fin < number)


class Connection:
  def __init__(self, segment):
    self.streams = {}
    for end in (self.source(segment), self.target(segment)):
      self.streams[end] = Stream()
    (a, aport), (b, bport) = self.streams
    self.report = Followed(f"{a}:{aport} - {b}:{bport}", min(aport, bport), segment.time, segment.time)
    self.isn = None

  @staticmethod
  def source(s):
    return s.source, s.sport

  @staticmethod
  def target(s):
    return s.target, s.dport

  def is_begun_anew_by(self, s):
    """A SYN with another number than this connection's: the ports are used again."""
    return s.flags & pcap.SYN and not s.flags & pcap.ACK and self.isn != s.seq

  def take(self, s):
    """Yields (kind, text)."""
    self.report.last = s.time
    if s.flags & pcap.RST:       # told for itself; its numbers answer a segment of the other side, not a connection
      return
    yield from self._take_data(self.streams[self.source(s)], s)
    if s.flags & pcap.ACK:
      yield from self._take_ack(self.streams[self.target(s)], s)

  def _take_data(self, stream, s):
    if s.flags & pcap.SYN:
      if not s.flags & pcap.ACK:
        self.isn = s.seq
      if stream.base is None:
        stream.start(s.seq + 1, True)
      return
    if stream.base is None:
      stream.start(s.seq, False)
    at = stream.count_on(s.seq)
    if s.flags & pcap.FIN:
      stream.fin = at + len(s.payload)
    differs = stream.sent(at, s.payload + (b"\0" if s.flags & pcap.FIN else b""))
    if differs is not None:
      yield CHANGED, f"{s.source}:{s.sport} sends byte {differs & 0xffffffff} again, and it is not what it was"

  def _take_ack(self, stream, s):
    who = f"{s.source}:{s.sport}"
    if stream.base is None:
      stream.start(s.ack, False)
    number = stream.count_on(s.ack)
    if stream.acked is not None and number < stream.acked:
      yield WENT_BACK, (f"{who} had acknowledged {stream.acked & 0xffffffff} and now acknowledges {s.ack}: "
                        f"{stream.acked - number} bytes are lost")
      return
    missing = stream.missing_below(number)
    if stream.from_start and missing is not None:
      yield NEVER_SENT, f"{who} acknowledges {s.ack}, but byte {missing & 0xffffffff} was never sent"
    new = stream.acknowledge(number)
    for index, (left, right) in enumerate(s.sacks):
      yield from self._judge_sack(stream, who, number, index, stream.count_on(left), stream.count_on(right))
    self.report.progress(s.time, new)

  @staticmethod
  def _judge_sack(stream, who, acked, index, left, right):
    if stream.from_start and right > stream.end:
      yield NEVER_SENT, f"{who} reports by SACK bytes up to {right & 0xffffffff}, which were never sent"
    elif left < acked and (right > acked or index > 0):
      yield ASKS_AGAIN, (f"{who} has acknowledged {acked & 0xffffffff}, and by SACK {left & 0xffffffff}-{right & 0xffffffff} "
                         "something below it is missing")


class Follower:
  """Give it segments in the order of the capture; then ask for `connections` and `violations`."""

  def __init__(self, without_ports=()):
    self._without = set(without_ports)
    self._open, self.connections, self.violations = {}, [], []

  def take(self, s):
    if self._without & {s.sport, s.dport}:
      return
    if len(s.payload) < s.length:
      raise ValueError(f"the capture cut a packet short, it cannot be followed: {s}")
    ends = frozenset([(s.source, s.sport), (s.target, s.dport)])
    connection = self._open.get(ends)
    if connection is None or connection.is_begun_anew_by(s):
      connection = self._open[ends] = Connection(s)
      self.connections.append(connection.report)
    for kind, text in connection.take(s):
      self.violations.append(Violation(s.time, connection.report.name, kind, text))

  @property
  def bytes(self):
    return sum(c.bytes for c in self.connections)


def follow(path, without_ports=(22,)):
  """All TCP connections of a capture; port 22 is left out: sessions of the old kernel end with it, as announced."""
  follower = Follower(without_ports)
  for segment in pcap.tcp(path):
    follower.take(segment)
  return follower
