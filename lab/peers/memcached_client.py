#!/usr/bin/env python3
"""One connection to memcached, told what to do by lines on standard input; answers each with one JSON line.

  fill N      stores items 1..N                     {"did":"fill","items":N,"seconds":S}
  verify N    reads all back and compares           {"did":"verify","items":N,"missing":M,"wrong":W,"seconds":S}
  stats       the server's pid, version, items      {"did":"stats",...}
  quit        (or the end of input)                 ends

All of it over the connection made at the start. If that breaks: {"error":...} and exit 1.
"""

import argparse
import json
import socket
import sys
import time

BATCH = 500


def value(n):
  return (b"%d:%08x;" % (n, n * 2654435761 % 4294967296)) * 4


class Memcached:
  def __init__(self, host, port):
    self.socket = socket.create_connection((host, port), 120)
    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    self.file = self.socket.makefile("rb")

  def _line(self):
    line = self.file.readline()
    if not line.endswith(b"\r\n"):
      raise ConnectionError("the server closed the connection")
    return line[:-2]

  def _expect_noop(self):
    """The meta no-op marks the end of a batch of quiet commands; what comes before it are complaints."""
    complaints = []
    while (line := self._line()) != b"MN":
      complaints.append(line.decode(errors="replace"))
    return complaints

  def fill(self, count):
    complaints = []
    for first in range(1, count + 1, BATCH):
      items = range(first, min(count, first + BATCH - 1) + 1)
      self.socket.sendall(b"".join(b"ms k%d %d q\r\n%b\r\n" % (n, len(value(n)), value(n)) for n in items) + b"mn\r\n")
      complaints += self._expect_noop()
    return {"items": count, "complaints": complaints[:5]}

  def verify(self, count):
    missing = wrong = 0
    for first in range(1, count + 1, BATCH):
      items = range(first, min(count, first + BATCH - 1) + 1)
      self.socket.sendall(b"get " + b" ".join(b"k%d" % n for n in items) + b"\r\n")
      got = {}
      while (line := self._line()) != b"END":
        word, name, _, size = line.split()[:4]
        if word != b"VALUE":
          raise ConnectionError(line.decode(errors="replace"))
        got[name] = self.file.read(int(size) + 2)[:-2]
      for n in items:
        have = got.get(b"k%d" % n)
        missing += have is None
        wrong += have is not None and have != value(n)
    return {"items": count, "missing": missing, "wrong": wrong}

  def stats(self, _):
    self.socket.sendall(b"stats\r\n")
    fields = {}
    while (line := self._line()) != b"END":
      _, name, text = line.decode().split(" ", 2)
      fields[name] = text
    return {k: fields.get(k) for k in ("pid", "uptime", "version", "curr_items", "curr_connections")}


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--host", default="10.77.0.2")
  p.add_argument("--port", type=int, default=11211)
  a = p.parse_args()
  c = Memcached(a.host, a.port)
  print(json.dumps({"did": "connect", "local": "%s:%d" % c.socket.getsockname()[:2]}), flush=True)
  for line in sys.stdin:
    words = line.split()
    if not words or words[0] == "quit":
      break
    start = time.monotonic()
    try:
      answer = getattr(c, words[0])(int(words[1]) if len(words) > 1 else 0)
    except (OSError, ValueError) as error:
      print(json.dumps({"did": words[0], "error": str(error)}), flush=True)
      return 1
    print(json.dumps({"did": words[0], **answer, "seconds": round(time.monotonic() - start, 3)}), flush=True)
  return 0


sys.exit(main())
