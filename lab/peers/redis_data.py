#!/usr/bin/env python3
"""Keys of redis that nobody writes to: loads them, and takes a digest of them.

  redis_data.py fill [--keys N] [--bytes B]     prints {"keys":N, "seconds":S}
  redis_data.py digest [--keys N]               prints {"keys":N, "missing":M, "digest":HEX, "seconds":S}
  redis_data.py info                            prints some of INFO, DBSIZE and the process id as redis tells them

Both work inside the server (Lua), a few thousand keys a call: on an emulated machine that is several times faster
than sending them. A value is B bytes, made from the key's number, no two alike. The digest chains SHA-1 over all values
in the order of their numbers, so it changes with any byte, key or order.
"""

import argparse
import json
import sys
import time

from redis_peer import Connection

FILL = """
local first, last, size = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
for at = first, last, 100 do
  local pairs_ = {}
  for n = at, math.min(last, at + 99) do
    local unit = string.format('%d:%08x:', n, (n * 2654435761) % 4294967296)
    pairs_[#pairs_ + 1] = 'fix:' .. n
    pairs_[#pairs_ + 1] = string.sub(string.rep(unit, math.ceil(size / #unit)), 1, size)
  end
  redis.call('MSET', unpack(pairs_))
end
return redis.status_reply('OK')
"""

DIGEST = """
local h, missing = ARGV[3], 0
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
for at = first, last, 100 do
  local names, upto = {}, math.min(last, at + 99)
  for n = at, upto do names[#names + 1] = 'fix:' .. n end
  local values = redis.call('MGET', unpack(names))
  for i, v in ipairs(values) do
    if not v then missing = missing + 1; values[i] = '-' end
  end
  h = redis.sha1hex(h .. table.concat(values, ','))
end
return {h, missing}
"""


def parts(count, size):
  return ((first, min(count, first + size - 1)) for first in range(1, count + 1, size))


def fill(c, a):
  for first, last in parts(a.keys, 5000):
    c.call("EVAL", FILL, 0, first, last, a.bytes)
  return {"keys": a.keys, "bytes": a.bytes}


def digest(c, a):
  h, missing = "", 0
  for first, last in parts(a.keys, 5000):
    h, gone = c.call("EVAL", DIGEST, 0, first, last, h)
    missing += gone
    h = h.decode()
  return {"keys": a.keys - missing, "missing": missing, "digest": h}


def info(c, _):
  fields = dict(line.split(":", 1) for line in c.call("INFO").decode().splitlines() if ":" in line)
  return {"dbsize": c.call("DBSIZE"), **{k: fields.get(k) for k in ("redis_version", "os", "process_id", "run_id",
                                                                     "uptime_in_seconds", "used_memory",
                                                                     "used_memory_rss", "connected_clients")}}


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("mode", choices=["fill", "digest", "info"])
  p.add_argument("--host", default="10.77.0.2")
  p.add_argument("--port", type=int, default=6379)
  p.add_argument("--keys", type=int, default=200000)
  p.add_argument("--bytes", type=int, default=520)
  a = p.parse_args()
  start = time.monotonic()
  answer = {"fill": fill, "digest": digest, "info": info}[a.mode](Connection(a.host, a.port, 120), a)
  print(json.dumps(answer | {"seconds": round(time.monotonic() - start, 3)}))
  return 0


sys.exit(main())
