#!/usr/bin/env python3
"""Writes numbered keys to redis over ONE connection, a write every 20 ms whether or not answers come.

  redis_numbered_writer.py [--count N] [--interval S] [--drain S]     until N, SIGTERM, or "stop" on standard input
  redis_numbered_writer.py verify REPORT.json         over a new connection: which acknowledged writes are missing?

Prints "connected", "acked" at the first answer, "gap" lines as they end, and last one JSON object:
  sent, acked, first_acked, last_acked, acked_ranges [[a,b],...], errors [..],
  window_outside_s (longest time between two answers), window_start, window_end (CLOCK_MONOTONIC of this host),
  window_after_n (last number answered before it), connection "open" | "reset" | "closed" | "timed out",
  send_blocked_s (longest time that the kernel took no more from us), reconnects (always 0: it cannot).
"""

import argparse
import json
import os
import select
import signal
import socket
import sys
import time

from redis_peer import Connection, Nil, RedisError, Replies, command

SAID_GAP = 1.0


def key(number):
  return f"up:w:{number}"


class Writer:
  def __init__(self, a):
    self.a, self.sent, self.answered = a, 0, 0
    self.acked, self.errors, self.connection = [], [], "open"
    self.last = self.start = time.monotonic()
    self.gap = (0.0, self.start, self.start, 0)
    self.blocked, self.blocked_since = 0.0, None
    self.out, self.replies = bytearray(), Replies()
    self.socket = socket.create_connection((a.host, a.port), 30)
    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    self.socket.setblocking(False)
    self.local = self.socket.getsockname()
    print("connected", f"{self.local[0]}:{self.local[1]}", f"{time.monotonic():.6f}", flush=True)

  def write(self):
    self.sent += 1
    self.out += command("SET", key(self.sent), self.sent)

  def flush(self):
    while self.out:
      try:
        taken = self.socket.send(self.out)
      except BlockingIOError:
        self.blocked_since = self.blocked_since or time.monotonic()
        return
      del self.out[:taken]
      if self.blocked_since:
        self.blocked = max(self.blocked, time.monotonic() - self.blocked_since)
        self.blocked_since = None

  def read(self):
    data = self.socket.recv(65536)
    now = time.monotonic()
    if not data:
      self.connection = "closed"
      return
    for reply in self.replies.feed(data):
      self.answered += 1         # answers come in the order of the commands
      if reply == b"OK":
        self.acked.append(self.answered)
      else:
        self.errors.append([self.answered, str(reply)])
      if self.answered == 1:
        print("acked", f"{now:.6f}", flush=True)
      elif now - self.last > self.gap[0]:
        self.gap = (now - self.last, self.last, now, self.answered - 1)
      if self.answered > 1 and now - self.last > SAID_GAP:
        print(f"gap {now - self.last:.3f} after {self.answered - 1} from {self.last:.6f} to {now:.6f}", flush=True)
      self.last = now

  def run(self, stop):
    due, deadline = time.monotonic(), None
    while self.connection == "open":
      now = time.monotonic()
      if deadline is None and (stop.wanted or self.sent == self.a.count):
        deadline = now + self.a.drain
      if deadline is None:
        while due <= now and self.sent != self.a.count:
          self.write()
          due += self.a.interval
      elif self.answered == self.sent or now > deadline:
        break
      try:
        self.flush()
        wait = max(0.0, due - time.monotonic()) if deadline is None else max(0.0, deadline - time.monotonic())
        inputs = [self.socket, stop.fd, *stop.stdin]
        ready, _, _ = select.select(inputs, [self.socket] if self.out else [], [], wait)
        if self.socket in ready:
          self.read()
        stop.look(ready)
      except ConnectionResetError:
        self.connection = "reset"
      except OSError as error:
        self.connection = "timed out" if isinstance(error, TimeoutError) else f"error: {error}"

  def report(self):
    end = time.monotonic()
    if self.answered < self.sent and end - self.last > self.gap[0]:
      self.gap = (end - self.last, self.last, end, self.answered)       # it never ended
    ranges = []
    for n in self.acked:
      if ranges and ranges[-1][1] == n - 1:
        ranges[-1][1] = n
      else:
        ranges.append([n, n])
    return {"sent": self.sent, "answered": self.answered, "acked": len(self.acked),
            "first_acked": self.acked[0] if self.acked else None, "last_acked": self.acked[-1] if self.acked else None,
            "acked_ranges": ranges, "errors": self.errors[:20], "connection": self.connection, "reconnects": 0,
            "local": f"{self.local[0]}:{self.local[1]}", "window_outside_s": round(self.gap[0], 6),
            "window_start": self.gap[1], "window_end": self.gap[2], "window_after_n": self.gap[3],
            "send_blocked_s": round(self.blocked, 6), "start": self.start, "end": end}


class Stop:
  """SIGTERM or a line "stop" on standard input, made visible to select()."""

  def __init__(self):
    self.wanted = False
    self.fd, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda *_: None)
    self.stdin = [sys.stdin]

  def look(self, ready):
    if self.fd in ready:
      os.read(self.fd, 512)
      self.wanted = True
    if sys.stdin in ready:
      line = sys.stdin.readline()
      if not line:
        self.stdin = []          # end of input asks for nothing
      elif line.strip() == "stop":
        self.wanted = True


def verify(a):
  with open(a.report) as f:
    report = json.loads(f.read().strip().splitlines()[-1])
  numbers = [n for first, last in report["acked_ranges"] for n in range(first, last + 1)]
  c, missing, wrong = Connection(a.host, a.port), [], []
  for at in range(0, len(numbers), 1000):
    part = numbers[at:at + 1000]
    for n, value in zip(part, c.pipeline(command("GET", key(n)) for n in part)):
      if value is Nil or isinstance(value, RedisError):
        missing.append(n)
      elif value != str(n).encode():
        wrong.append([n, value.decode(errors="replace")])
  return {"acked": len(numbers), "lost": len(missing) + len(wrong), "missing": missing[:50], "wrong": wrong[:50]}


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("mode", nargs="?", choices=["write", "verify"], default="write")
  p.add_argument("report", nargs="?")
  p.add_argument("--host", default="10.77.0.2")
  p.add_argument("--port", type=int, default=6379)
  p.add_argument("--count", type=int, default=-1, help="stop after so many writes")
  p.add_argument("--interval", type=float, default=0.02, help="seconds between writes")
  p.add_argument("--drain", type=float, default=30.0, help="how long to wait for outstanding answers at the end")
  a = p.parse_args()
  if a.mode == "verify":
    print(json.dumps(verify(a)))
    return 0
  stop = Stop()
  writer = Writer(a)
  writer.run(stop)
  print(json.dumps(writer.report()), flush=True)
  return 0 if writer.connection == "open" and writer.answered == writer.sent else 1


sys.exit(main())
