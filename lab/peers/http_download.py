#!/usr/bin/env python3
"""Downloads one file slowly over one connection, and notices every pause.

Takes --rate bytes a second by reading no faster (with a small receive buffer, so that the server really waits). Prints
"headers", then "gap" lines, and last one JSON object: status, expected, received, sha256, longest_gap_s (between two pieces
of data, beyond what the rate asks for), gap_start, gap_end (CLOCK_MONOTONIC), connection "complete" | "closed" | "reset" |
"timed out", seconds. SIGUSR1 lifts the rate limit.
"""

import argparse
import hashlib
import json
import signal
import socket
import sys
import time


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("path", help="as in the URL, with the slash")
  p.add_argument("--host", default="10.77.0.2")
  p.add_argument("--port", type=int, default=80)
  p.add_argument("--rate", type=float, default=1e6, help="bytes a second; 0: as fast as it comes")
  p.add_argument("--buffer", type=int, default=65536, help="receive buffer in bytes")
  p.add_argument("--timeout", type=float, default=120, help="give up after so many seconds without data")
  a = p.parse_args()
  rate = [a.rate]
  signal.signal(signal.SIGUSR1, lambda *_: rate.__setitem__(0, 0.0))

  s = socket.socket()
  s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, a.buffer)
  s.settimeout(a.timeout)
  s.connect((a.host, a.port))
  s.sendall(f"GET {a.path} HTTP/1.1\r\nHost: {a.host}\r\nConnection: close\r\n\r\n".encode())
  data = bytearray()
  while b"\r\n\r\n" not in data:
    data += s.recv(4096) or sys.exit("no answer")
  head, _, body = bytes(data).partition(b"\r\n\r\n")
  lines = head.decode(errors="replace").split("\r\n")
  fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
  expected = int(fields.get("content-length", -1))
  start = last = time.monotonic()
  print("headers", lines[0], expected, f"{start:.6f}", flush=True)

  h, received, gap, state = hashlib.sha256(body), len(body), (0.0, start, start), "closed"
  while received != expected:
    asked = time.monotonic()
    try:
      piece = s.recv(16384)
    except ConnectionResetError:
      state = "reset"
      break
    except TimeoutError:
      state = "timed out"
      break
    now = time.monotonic()
    if now - asked > gap[0]:
      gap = (now - asked, asked, now)
    if now - asked > 1.0:
      print(f"gap {now - asked:.3f} after {received} bytes", flush=True)
    if not piece:
      break
    h.update(piece)
    received += len(piece)
    # by the piece, not by the total: after a pause it goes on at the same rate and does not catch up
    if rate[0]:
      time.sleep(max(0.0, len(piece) / rate[0] - (now - max(asked, last))))
    last = time.monotonic()
  if received == expected:
    state = "complete"
  print(json.dumps({"status": lines[0], "expected": expected, "received": received, "sha256": h.hexdigest(),
                    "longest_gap_s": round(gap[0], 6), "gap_start": gap[1], "gap_end": gap[2], "connection": state,
                    "seconds": round(time.monotonic() - start, 3)}), flush=True)
  return 0 if state == "complete" else 1


sys.exit(main())
