#!/usr/bin/env python3
"""Listens to a channel of redis on one connection, and publishes numbers to it on another one, every 50 ms whether or not answers come.

Neither connection is ever made anew. Prints "subscribed", then "heard N" now and then. On SIGTERM it stops publishing, waits until what
was published has been heard, and prints one JSON line:
{"connection":"open"|why,"published":N,"heard":N,"out_of_order":N,"longest_gap_s":S}
"""

import argparse
import json
import select
import signal
import socket
import sys
import time

from redis_peer import Replies, command

CHANNEL = "numbers"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--host", default="10.77.0.2")
  p.add_argument("--port", type=int, default=6379)
  p.add_argument("--interval", type=float, default=0.05)
  p.add_argument("--drain", type=float, default=10, help="seconds to wait for what was published last")
  a = p.parse_args()
  stop = []
  signal.signal(signal.SIGTERM, lambda *_: stop.append(time.monotonic()))
  listener, publisher = (socket.create_connection((a.host, a.port), 30) for _ in range(2))
  messages, replies = Replies(), Replies()
  listener.sendall(command("SUBSCRIBE", CHANNEL))
  for s in (listener, publisher):
    s.setblocking(False)
  published = heard = wrong = 0
  last, gap, why, due, said, out = time.monotonic(), 0.0, "open", 0.0, 0.0, bytearray()
  try:
    while not stop or (heard < published and time.monotonic() < stop[0] + a.drain):
      now = time.monotonic()
      if not stop and published < heard + 10000 and now >= due and said:
        published, due = published + 1, now + a.interval
        out += command("PUBLISH", CHANNEL, published)
      if out:
        try:
          del out[:publisher.send(out)]
        except BlockingIOError:
          pass
      readable, _, _ = select.select([listener, publisher], [], [], 0.02)
      for s, parser in ((listener, messages), (publisher, replies)):
        if s not in readable:
          continue
        data = s.recv(1 << 16)
        if not data:
          raise ConnectionError("the server closed the connection")
        for value in parser.feed(data):
          if s is publisher:
            continue
          if value[0] == b"subscribe":
            said = time.monotonic()
            print("subscribed", flush=True)
            continue
          heard += 1
          wrong += int(value[2]) != heard
          now = time.monotonic()
          gap, last = max(gap, now - last), now
          if now > said + 1:
            said = now
            print(f"heard {heard}", flush=True)
  except (OSError, ValueError) as error:
    why = str(error) or type(error).__name__
  print(json.dumps({"connection": why, "published": published, "heard": heard, "out_of_order": wrong, "longest_gap_s": round(gap, 2)}), flush=True)
  return 0 if why == "open" else 1


sys.exit(main())
