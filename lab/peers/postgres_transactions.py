#!/usr/bin/env python3
"""Many connections to PostgreSQL, each in the middle of a transaction, told what to do by lines on standard input.

  begin N    opens N connections; each begins a transaction and inserts its number into the table `carried`
  commit     each inserts its number once more and commits, on the connection that it has
  count      what a new connection sees: {"did":"count","rows":N,"distinct":N}

Answers each with one JSON line; if a connection breaks: {"error":...} and exit 1. The user needs no password.
"""

import argparse
import json
import socket
import struct
import sys


class Connection:
  """The simple query protocol, version 3."""

  def __init__(self, host, port, user, database):
    self.socket = socket.create_connection((host, port), 60)
    self.socket.settimeout(120)
    self.file = self.socket.makefile("rb")
    words = f"user\0{user}\0database\0{database}\0\0".encode()
    self.socket.sendall(struct.pack("!ii", 8 + len(words), 196608) + words)
    self._until_ready()

  def query(self, text):
    body = text.encode() + b"\0"
    self.socket.sendall(b"Q" + struct.pack("!i", 4 + len(body)) + body)
    return self._until_ready()

  def _until_ready(self):
    rows = []
    while True:
      head = self.file.read(5)
      if len(head) < 5:
        raise ConnectionError("the server closed the connection")
      kind, length = head[:1], struct.unpack("!i", head[1:])[0]
      body = self.file.read(length - 4)
      if kind == b"E":
        raise ConnectionError(body.replace(b"\0", b" ").decode(errors="replace"))
      if kind == b"R" and struct.unpack("!i", body[:4])[0] != 0:
        raise ConnectionError("the server wants a password")
      if kind == b"D":
        rows.append(self._row(body))
      if kind == b"Z":
        return rows

  @staticmethod
  def _row(body):
    count, at, row = struct.unpack("!h", body[:2])[0], 2, []
    for _ in range(count):
      size = struct.unpack("!i", body[at:at + 4])[0]
      row.append(body[at + 4:at + 4 + size].decode())
      at += 4 + max(size, 0)
    return row


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--host", default="10.77.0.2")
  p.add_argument("--port", type=int, default=5432)
  p.add_argument("--user", default="postgres")
  a = p.parse_args()
  connect = lambda: Connection(a.host, a.port, a.user, "postgres")
  connections = []
  try:
    for line in sys.stdin:
      word, _, rest = line.strip().partition(" ")
      done = {"did": word}
      if word == "begin":
        for n in range(int(rest)):
          connections.append(connect())
          connections[-1].query(f"begin; insert into carried values ({n}, 'before')")
        done["connections"] = len(connections)
      elif word == "commit":
        for n, connection in enumerate(connections):
          connection.query(f"insert into carried values ({n}, 'after'); commit")
      elif word == "count":
        rows, distinct = connect().query("select count(*), count(distinct number) from carried")[0]
        done |= {"rows": int(rows), "distinct": int(distinct)}
      print(json.dumps(done), flush=True)
  except (OSError, ValueError) as error:
    print(json.dumps({"error": str(error)}), flush=True)
    return 1
  return 0


sys.exit(main())
