"""Whole images that could not be restored: kept on disk for root, tried again when the cause is gone, or given up.

The cause is another program, which is not carried and does something to a file after the snapshot that a carried task reads: it
writes to it, for criu refuses to open a file anew that has another size; for the native engine it gives it another name. That is taken
back, and the tasks come back; the second time they are given up.
"""

import re

from labkit import upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
PAIRS = {"long": [("6.12", "7.3"), ("6.12", "7.3", "--set engine=criu")]}
TIMEOUT = 400
NEEDS_DEB = True
SETTINGS = {"keys": "20000"}
FEED = "/var/tmp/feed"
READER = f"""
import time
feed, seen = open("{FEED}", "rb"), 0
while True:
  seen += len(feed.read(65536))
  with open("/var/tmp/reader", "w") as out: out.write(str(seen))
  time.sleep(0.02)
"""
WRITER = f"""
import time
with open("{FEED}", "ab", buffering=0) as feed:
  while True:
    feed.write(b"x" * 64)
    time.sleep(0.002)
"""
# Begins with the end of the snapshot, of which the journal tells.
MOVER = f"""
import glob, os, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
known = set(glob.glob("/var/lib/upkeep/*/journal.jsonl"))
while not any("engine.snapshot_ms" in open(path).read() for path in set(glob.glob("/var/lib/upkeep/*/journal.jsonl")) - known):
  time.sleep(0.002)
os.rename("{FEED}", "{FEED}.moved")
os.sync()
"""


class Written:
  """The file has another size than in the snapshot."""
  program, why = WRITER, "bad size"

  def look_at_check(self, m, told):
    m.check(f"may write to {FEED} as well" in told, "check warns of it beforehand")

  def look_at_failure(self, m, message):
    found = re.search(r"bad size (\d+) \(expect (\d+)\)", message)
    m.check(found and int(found[1]) > int(found[2]), f"it names the sizes: {message}")
    self.size = int(found[2])

  def take_back(self, m):
    m.ssh(f"truncate -s {self.size} {FEED}")


class Moved:
  """The file has another name than in the snapshot."""
  program, why = MOVER, FEED

  def look_at_check(self, m, told):
    m.check(FEED not in told, "nobody can know that beforehand")

  def look_at_failure(self, m, message):
    m.check("No such file" in message, f"it says what has become of it: {message}")

  def take_back(self, m):
    m.ssh(f"mv {FEED}.moved {FEED}")


def run(m):
  there, back = m.to_release, m.from_release
  cause = Written() if m.settings["engine"] == "criu" else Moved()
  m.put(READER, "/root/reader.py")
  m.put(cause.program, "/root/cause.py")
  m.ssh(f"echo first > {FEED}; setsid -f python3 /root/reader.py </dev/null >/dev/null 2>&1")
  reader = int(m.ssh("pgrep -f /root/reader.py").out.split()[0])
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  id_ = fail(m, cause, there, [service.pid, reader])
  kept = f"/var/lib/upkeep/{id_}/images.store"
  m.check(m.ssh(f"stat -c '%a %U' {kept}").out.split() == ["600", "root"], "the images are on disk, for root only")
  m.check(m.ssh(f"runuser -u nobody -- cat {kept}", check=False).rc != 0, "nobody else reads them")
  service.writer.process.kill()

  again(m, id_, 1, "as long as the cause is there they are refused again, and kept")
  m.check(m.ssh(f"test -s {kept}", check=False).rc == 0, "and still on disk")
  cause.take_back(m)
  again(m, id_, 0, "with the cause gone they are restored")
  tasks_are_back(m, service, reader, kept)
  m.check(m.ssh("upkeep status").rc == 0, "`upkeep status` says that all is well now")

  id_ = fail(m, cause, back, [service.pid, reader])
  m.ssh(f"upkeep restore {id_} --discard")
  m.check(m.ssh(f"find /var/lib/upkeep -name 'images*'").out == "", "given up, they are gone")
  again(m, id_, 1, "and there is nothing to restore from")


def fail(m, cause, to, pids):
  """An upgrade whose tasks cannot be restored; its ID."""
  m.ssh("setsid -f python3 /root/cause.py </dev/null >/dev/null 2>&1")
  told = m.ssh(f"upkeep check --to {to} --engine {m.settings['engine']} --carry {' '.join(map(str, pids))}", check=False).out
  cause.look_at_check(m, told)
  with upgrades.Journey(m, to) as journey:
    journey.upgrade(pids)
  journey.verify_not_restored(cause.why, begun=True)
  settled = m.ssh(f"cat /var/lib/upkeep/{journey.summary['id']}/journal.jsonl").out
  m.check('"handed_back"' in settled, "the memory that held the images is given back all the same")
  m.check(m.ssh("systemctl is-active cron", check=False).out.strip() == "active", "what was stopped for the upgrade runs again")
  alive = m.ssh("pgrep -c redis-server; pgrep -fc '^python3 /root'", check=False).out.split()
  m.check(alive == ["0", "0"], f"no carried task runs ({alive})")
  cause.look_at_failure(m, journey.summary["message"])
  return journey.summary["id"]


def again(m, id_, rc, what):
  done = m.ssh(f"upkeep restore {id_}", check=False, timeout=90)
  m.check(done.rc == rc, f"{what} (exit code {done.rc}: {(done.err or done.out).strip()[-300:]})")


def tasks_are_back(m, service, reader, kept):
  names = m.ssh(f"cat /proc/{service.pid}/comm /proc/{reader}/comm", check=False).out.split()
  m.check(names == ["redis-server", "python3"], f"both run again, with the PIDs that they had ({names})")
  after = m.ask("redis_data.py", "digest", "--keys", service.keys)
  m.check(after["digest"] == service.before["digest"] and after["missing"] == 0, f"the {service.keys} keys are what they were")
  m.ssh(f"printf 'more' >> {FEED}")
  waited = m.ssh(f"timeout 10 sh -c 'until [ \"$(cat /var/tmp/reader)\" = \"$(stat -c %s {FEED})\" ]; do sleep 0.05; done'", check=False)
  m.check(waited.rc == 0, "the reader goes on where it was: it has counted every byte once")
  m.check(m.ssh(f"test -e {kept}", check=False).rc != 0, "their images are deleted")
  m.check(m.ssh("nft list tables").out.count("upkeep") == 0, "the network is open")
