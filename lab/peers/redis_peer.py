"""What the redis clients of the lab share: the protocol (RESP2), and names of keys.

Keys "fix:N" are loaded once and never written again (their digest is compared before and after an upgrade); keys
"up:w:N" are the numbered writes.
"""

import socket


class Replies:
  """Takes bytes as they come; yields complete replies."""

  def __init__(self):
    self._buffer = bytearray()
    self._at = 0

  def feed(self, data):
    self._buffer += data
    while True:
      found = self._parse(self._at)
      if found is None:
        break
      value, self._at = found
      yield value
    del self._buffer[:self._at]
    self._at = 0

  def _parse(self, at):
    """(value, position after it), or None when it has not all come yet. Errors are returned as RedisError."""
    end = self._buffer.find(b"\r\n", at)
    if end < 0:
      return None
    kind, text, after = self._buffer[at:at + 1], bytes(self._buffer[at + 1:end]), end + 2
    if kind == b"+":
      return text, after
    if kind == b"-":
      return RedisError(text.decode(errors="replace")), after
    if kind == b":":
      return int(text), after
    if kind == b"$":
      size = int(text)
      if size < 0:
        return Nil, after
      if len(self._buffer) < after + size + 2:
        return None
      return bytes(self._buffer[after:after + size]), after + size + 2
    if kind == b"*":
      values = []
      for _ in range(int(text)):
        found = self._parse(after)
        if found is None:
          return None
        value, after = found
        values.append(value)
      return values, after
    raise ValueError(f"not a redis reply: {bytes(self._buffer[at:at + 40])!r}")


class RedisError(Exception):
  """An error reply."""


class Nil:
  """The reply that says: nothing there."""


def command(*words):
  """A command as bytes."""
  words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
  return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


class Connection:
  """One connection; call() for one command, pipeline() for many."""

  def __init__(self, host, port, timeout=30):
    self.socket = socket.create_connection((host, port), timeout)
    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    self._replies = Replies()

  def pipeline(self, commands):
    """Sends all; returns all replies, in order."""
    count, sent = 0, bytearray()
    for c in commands:
      sent += c
      count += 1
    self.socket.sendall(sent)
    values = []
    while len(values) < count:
      data = self.socket.recv(1 << 20)
      if not data:
        raise ConnectionError("the server closed the connection")
      values += self._replies.feed(data)
    return values

  def call(self, *words):
    [value] = self.pipeline([command(*words)])
    if isinstance(value, RedisError):
      raise value
    return value
