"""The clients outside notice what they are there to notice: a pause, a lost write, a changed key, a reset.

No upgrade: the services are stopped and continued, or harmed, on purpose.
"""

import time

FROM = "6.12"
TAGS = {"long"}
TIMEOUT = 240
SETTINGS = {"keys": "200000"}
PAUSE = 2.0


def run(m):
  keys = m.settings["keys"]
  capture = m.capture()
  redis(m, keys)
  memcached(m)
  nginx(m)
  m.check(len(m.resets(capture, 6379)) == 0, "the capture shows no reset of redis' connections")
  followed = m.follow(capture)
  m.check(not followed.violations and followed.bytes > 6000000,
          f"nor an acknowledged byte lost among {followed.bytes:,} ({', '.join(map(str, followed.violations[:3]))})")
  m.check(reset_is_seen(m), "a reset that there is, is seen")


def redis(m, keys):
  m.ssh("redis-server --daemonize yes --bind 0.0.0.0 --protected-mode no --save '' --pidfile /run/redis.pid")
  m.wait_port(6379)
  filled = m.ask("redis_data.py", "fill", "--keys", keys)
  m.fact("fill_s", filled["seconds"])
  before = m.ask("redis_data.py", "digest", "--keys", keys)
  m.fact("digest_s", before["seconds"])
  info = m.ask("redis_data.py", "info")
  m.fact("used_memory", int(info["used_memory"]))
  m.check(before["missing"] == 0 and info["dbsize"] == int(keys), f"redis holds {keys} keys")

  writer = m.client("writer", "redis_numbered_writer.py")
  writer.expect("^acked", 20)
  pause(m, "$(cat /run/redis.pid)")
  writer.expect("^gap", 20)
  report = writer.finish()
  m.check(report["connection"] == "open" and report["acked"] == report["sent"] > PAUSE / 0.02 / 2,
          f"every write was answered, also those of the pause ({report['acked']} of {report['sent']})")
  gap = report["window_outside_s"]
  m.check(PAUSE - 0.3 < gap < PAUSE + 3, f"a pause of {PAUSE} s is seen as {gap:.2f} s")
  good = m.ask("redis_numbered_writer.py", "verify", writer.out)
  m.check(good["lost"] == 0, "no write is missing")

  m.ssh(f"redis-cli del up:w:{report['last_acked']} up:w:1; redis-cli setrange fix:77 3 x")
  bad = m.ask("redis_numbered_writer.py", "verify", writer.out)
  m.check(bad["missing"] == [1, report["last_acked"]], "two writes taken away are missed")
  after = m.ask("redis_data.py", "digest", "--keys", keys)
  m.check(after["digest"] != before["digest"], "one changed byte changes the digest")


def memcached(m):
  m.ssh("memcached -d -u memcache -m 128 -l 0.0.0.0 -P /run/memcached.pid")
  m.wait_port(11211)
  c = m.client("memcached", "memcached_client.py")
  c.expect("connect", 10)
  c.tell("fill 100000")
  c.expect('"did": "fill"', 60)
  m.ssh("python3 -c \"import socket; s = socket.create_connection(('127.0.0.1', 11211)); "
        "s.sendall(b'delete k5\\r\\nset k6 0 0 1\\r\\nx\\r\\n'); print(s.recv(99))\"")
  c.tell("verify 100000")
  c.expect('"did": "verify"', 60)
  seen = c.json()
  m.check((seen["missing"], seen["wrong"]) == (1, 1), f"of 100,000 items one is missing and one is wrong: {seen}")
  c.tell("quit")
  c.wait(10)


def nginx(m):
  want = m.ssh("head -c 6000000 /dev/urandom > /var/www/html/big; systemctl start nginx; sha256sum /var/www/html/big"
               ).out.split()[0]
  d = m.client("download", "http_download.py", "/big", "--rate", "1000000")
  d.expect("^headers", 20)
  pause(m, "$(pgrep -d ' ' nginx)")
  d.wait(60)
  seen = d.json()
  m.check(seen["connection"] == "complete" and seen["sha256"] == want, "the slow download is right, byte for byte")
  m.fact("download_gap_s", seen["longest_gap_s"])


def pause(m, pids):
  m.ssh(f"p=\"{pids}\"; kill -STOP $p; sleep {PAUSE}; kill -CONT $p")


def reset_is_seen(m):
  capture = m.capture("capture-reset")
  # nobody listens there: the guest's kernel answers with a reset
  m.client("refused", "python3", "-c", "import socket; socket.create_connection(('10.77.0.2', 4), 5)").wait(10)
  time.sleep(0.2)
  return len(m.resets(capture, 4)) == 1
