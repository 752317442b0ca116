"""Whole images that could not be restored: kept on disk for root, tried again when the cause is gone, or given up.

The cause is another program, which is not carried and, after the snapshot, gives another name to a file that a carried task reads. That
is taken back, and the tasks come back; the second time they are given up.
"""

from labkit import upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
TAGS = {"long"}
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


def run(m):
  there, back = m.to_release, m.from_release
  m.put(READER, "/root/reader.py")
  m.put(MOVER, "/root/mover.py")
  m.ssh(f"echo first > {FEED}; setsid -f python3 /root/reader.py </dev/null >/dev/null 2>&1")
  reader = int(m.ssh("pgrep -f /root/reader.py").out.split()[0])
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  id_ = fail(m, there, [service.pid, reader])
  kept = f"/var/lib/upkeep/{id_}/images.store"
  m.check(m.ssh(f"stat -c '%a %U' {kept}").out.split() == ["600", "root"], "the images are on disk, for root only")
  m.check(m.ssh(f"runuser -u nobody -- cat {kept}", check=False).rc != 0, "nobody else reads them")
  service.writer.process.kill()

  again(m, id_, 1, "as long as the cause is there they are refused again, and kept")
  m.check(m.ssh(f"test -s {kept}", check=False).rc == 0, "and still on disk")
  m.ssh(f"mv {FEED}.moved {FEED}")
  again(m, id_, 0, "with the cause gone they are restored")
  tasks_are_back(m, service, reader, kept)
  m.check(m.ssh("upkeep status").rc == 0, "`upkeep status` says that all is well now")

  id_ = fail(m, back, [service.pid, reader])
  m.ssh(f"upkeep restore {id_} --discard")
  m.check(m.ssh(f"find /var/lib/upkeep -name 'images*'").out == "", "given up, they are gone")
  again(m, id_, 1, "and there is nothing to restore from")


def fail(m, to, pids):
  """An upgrade whose tasks cannot be restored; its ID."""
  m.ssh("setsid -f python3 /root/mover.py </dev/null >/dev/null 2>&1")
  told = m.ssh(f"upkeep check --to {to} --carry {' '.join(map(str, pids))}", check=False).out
  m.check(FEED not in told, "nobody can know that beforehand")
  with upgrades.Journey(m, to) as journey:
    journey.upgrade(pids)
  journey.verify_not_restored(FEED, begun=True)
  settled = m.ssh(f"cat /var/lib/upkeep/{journey.summary['id']}/journal.jsonl").out
  m.check('"handed_back"' in settled, "the memory that held the images is given back all the same")
  m.check(m.ssh("systemctl is-active cron", check=False).out.strip() == "active", "what was stopped for the upgrade runs again")
  alive = m.ssh("pgrep -c redis-server; pgrep -fc '^python3 /root'", check=False).out.split()
  m.check(alive == ["0", "0"], f"no carried task runs ({alive})")
  message = journey.summary["message"]
  m.check("No such file" in message, f"it says what has become of it: {message}")
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
