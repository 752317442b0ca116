#!/usr/bin/env python3
"""Asks an HTTP server the same again and again on one connection that it never makes anew.

The body of each answer is a number that counts up, or, with --constant, whatever it was the first time. Prints "asked N" now and
then. Ends on SIGTERM (or when the connection does) with one JSON line:
{"connection":"open"|why,"answers":N,"wrong":N,"longest_gap_s":S}
"""

import argparse
import json
import signal
import socket
import sys
import time


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("port", type=int)
  p.add_argument("--host", default="10.77.0.2")
  p.add_argument("--path", default="/")
  p.add_argument("--constant", action="store_true")
  p.add_argument("--every", type=float, default=0.05, metavar="S", help="seconds between an answer and the next request")
  a = p.parse_args()
  stop = []
  signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
  s = socket.create_connection((a.host, a.port), 60)
  s.settimeout(None)
  file = s.makefile("rb")
  answers = wrong = said = 0
  last, gap, before, why = time.monotonic(), 0.0, None, "open"
  request = f"GET {a.path} HTTP/1.1\r\nHost: {a.host}\r\nConnection: keep-alive\r\n\r\n".encode()
  try:
    while not stop:
      s.sendall(request)
      body = answer(file)
      answers += 1
      wrong += before is not None and (body != before if a.constant else int(body) != int(before) + 1)
      before = body
      now = time.monotonic()
      gap, last = max(gap, now - last), now
      if answers == 1 or now > said + 1:
        said = now
        print(f"asked {answers}", flush=True)
      time.sleep(a.every)
  except (OSError, ValueError) as error:
    why = str(error)
  print(json.dumps({"connection": why, "answers": answers, "wrong": wrong, "longest_gap_s": round(gap, 2)}), flush=True)
  return 0 if why == "open" else 1


def answer(file):
  status = file.readline()
  if not status.startswith(b"HTTP/1.1 200"):
    raise ConnectionError(f"the server said {status!r}")
  length = None
  while (line := file.readline().strip()):
    name, _, value = line.partition(b":")
    if name.lower() == b"content-length":
      length = int(value)
  if length is None:
    raise ConnectionError("an answer without a length")
  return file.read(length)


sys.exit(main())
