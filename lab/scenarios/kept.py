"""Whole images that could not be restored: kept on disk for root, tried again when the cause is gone, or given up.

The cause: a carried task reads a file to which another program, which is not carried, still writes after the snapshot. criu refuses
to open a file anew that has another size. What was added is cut off, and the tasks come back; the second time they are given up.
"""

import re

from labkit import upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
TAGS = {"long"}
TIMEOUT = 400
NEEDS_DEB = True
SETTINGS = {"keys": "20000", "engine": "criu"}   # whose cause this is
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


def run(m):
  there, back = m.to_release, m.from_release
  m.put(READER, "/root/reader.py")
  m.put(WRITER, "/root/writer.py")
  m.ssh(f"echo first > {FEED}; setsid -f python3 /root/reader.py </dev/null >/dev/null 2>&1")
  reader = int(m.ssh("pgrep -f /root/reader.py").out.split()[0])
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  id_, size = fail(m, there, [service.pid, reader])
  kept = f"/var/lib/upkeep/{id_}/images.store"
  m.check(m.ssh(f"stat -c '%a %U' {kept}").out.split() == ["600", "root"], "the images are on disk, for root only")
  m.check(m.ssh(f"runuser -u nobody -- cat {kept}", check=False).rc != 0, "nobody else reads them")
  service.writer.process.kill()

  again(m, id_, 1, "as long as the cause is there they are refused again, and kept")
  m.check(m.ssh(f"test -s {kept}", check=False).rc == 0, "and still on disk")
  m.ssh(f"truncate -s {size} {FEED}")
  again(m, id_, 0, "with the cause gone they are restored")
  tasks_are_back(m, service, reader, kept)
  m.check(m.ssh("upkeep status").rc == 0, "`upkeep status` says that all is well now")

  id_, _ = fail(m, back, [service.pid, reader])
  m.ssh(f"upkeep restore {id_} --discard")
  m.check(m.ssh(f"find /var/lib/upkeep -name 'images*'").out == "", "given up, they are gone")
  again(m, id_, 1, "and there is nothing to restore from")


def fail(m, to, pids):
  """An upgrade whose tasks cannot be restored; its ID and the size that the file had in the snapshot."""
  m.ssh("setsid -f python3 /root/writer.py </dev/null >/dev/null 2>&1")
  told = m.ssh(f"upkeep check --to {to} --engine {m.settings['engine']} --carry {' '.join(map(str, pids))}", check=False).out
  m.check(f"may write to {FEED} as well" in told, "check warns of it beforehand")
  with upgrades.Journey(m, to) as journey:
    journey.upgrade(pids)
  journey.verify_not_restored("bad size", begun=True)
  settled = m.ssh(f"cat /var/lib/upkeep/{journey.summary['id']}/journal.jsonl").out
  m.check('"handed_back"' in settled, "the memory that held the images is given back all the same")
  m.check(m.ssh("systemctl is-active cron", check=False).out.strip() == "active", "what was stopped for the upgrade runs again")
  alive = m.ssh("pgrep -c redis-server; pgrep -fc '^python3 /root'", check=False).out.split()
  m.check(alive == ["0", "0"], f"no carried task runs ({alive})")
  found = re.search(r"bad size (\d+) \(expect (\d+)\)", journey.summary["message"])
  m.check(found and int(found[1]) > int(found[2]), f"it names the sizes: {journey.summary['message']}")
  return journey.summary["id"], int(found[2])


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
