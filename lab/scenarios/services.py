"""nginx as its unit runs it with a slow download, memcached with 100,000 items, both on connections from outside; a clock that is read all the time."""

from labkit import upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
PAIRS = {"check": [("6.12", "7.3")], "long": [("6.1", "6.12", "--set guest=bookworm")]}
TIMEOUT = 500
NEEDS_DEB = True
# Reads its clocks as fast as it can and says when one goes back; writes files that it never syncs: its counters, and lines with
# a number and the kernel that it runs on.
CLOCKS = """
import os, time
clocks = [time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME, time.CLOCK_REALTIME]
last, back, steps = [time.clock_gettime_ns(c) for c in clocks], 0, 0
out, lines = open("/var/tmp/unsynced", "w"), open("/var/tmp/unsynced-lines", "w")
while True:
  now = [time.clock_gettime_ns(c) for c in clocks]
  back += sum(n < l for n, l in zip(now, last))
  last, steps = now, steps + 1
  if steps % 20 == 0:
    lines.write(f"{steps // 20} {os.uname().release}\\n"); lines.flush()
  if steps % 2000 == 0:
    out.seek(0); out.write(f"{back} {steps} {now[0] // 10**9}\\n"); out.flush()
  time.sleep(0.0005)
"""


def run(m):
  size = 30_000_000
  want = m.ssh(f"head -c {size} /dev/urandom > /var/www/html/big; sync; systemctl start nginx; sha256sum /var/www/html/big").out.split()[0]
  nginx = int(m.ssh("systemctl show -p MainPID --value nginx").out)
  m.ssh("memcached -d -u memcache -m 128 -l 0.0.0.0")
  m.put(CLOCKS, "/root/clocks.py")
  m.ssh("setsid -f python3 /root/clocks.py </dev/null >/dev/null 2>&1")
  m.wait_port(11211)
  memcached = int(m.ssh("pgrep -x memcached").out)
  clocks = int(m.ssh("pgrep -f /root/clocks.py").out.split()[0])
  cache = m.client("memcached", "memcached_client.py")
  cache.expect("connect", 10)
  cache.tell("fill 100000")
  cache.expect('"did": "fill"', 90)
  download = m.client("download", "http_download.py", "/big", "--rate", "500000")
  download.expect("^headers", 20)
  m.ssh("echo written and not synced > /var/tmp/plain")
  disks = []
  with upgrades.Journey(m) as journey:
    journey.upgrade([nginx, memcached, clocks], on_boot=lambda _: disks.append(take_disk(m, journey)))
  journey.verify()
  cache.tell("verify 100000")
  cache.expect('"did": "verify"', 120)
  seen = cache.json()
  m.check((seen["missing"], seen["wrong"]) == (0, 0), f"memcached's 100,000 items are there: {seen}")
  cache.tell("quit")
  download.process.send_signal(10)   # no need to be slow any more
  download.wait(120)
  got = download.json()
  m.check(got.get("sha256") == want, f"the download is complete, byte for byte ({got})")
  m.check(got["longest_gap_s"] <= 1.5 * m.facts["window_s"], f"it stood still for {got['longest_gap_s']:.1f} s, not much longer than the window")
  m.fact("download_gap_s", got["longest_gap_s"])
  state = m.ssh("systemctl show -p ActiveState -p MainPID nginx").out.split()
  m.check(f"MainPID={nginx}" in state and "ActiveState=active" in state, f"nginx.service is the carried nginx ({state})")
  m.check(m.ssh("pgrep -c -f 'nginx: master'").out.strip() == "1", "nginx was not started twice")
  m.ssh("systemctl restart nginx")
  m.check(m.ssh("systemctl is-active nginx").out.strip() == "active", "a restart of the unit works")
  back = m.ssh("cat /var/tmp/unsynced").out.split()
  m.check(back and back[0] == "0", f"no clock went back ({back})")
  uptime = float(m.ssh(f"nsenter -t {clocks} -T cat /proc/uptime").out.split()[0])
  m.check(uptime >= float(back[2]), "the carried tasks' uptime goes on")
  m.check(m.ssh("cat /var/tmp/plain").out.strip() == "written and not synced", "files written before are there")
  check_network(m, journey)
  m.ssh(f"kill {clocks}")
  written = m.ssh("cat /var/tmp/unsynced-lines").out
  m.shut_down()
  with upgrades.Disk(m) as disk:
    m.check(disk.fsck() == 0, "fsck finds nothing after all of it")
  check_disk(m, disks[0], written)


def take_disk(m, journey):
  """What the old kernel left on the disk: the new one has not even found it yet."""
  image = m.split_disk()
  lines = [line for _, line in m.console_lines(journey.since)]
  m.check(not any("upkeep-init" in line for line in lines), "the disk was looked at before the new kernel had a PID 1")
  return image


def check_disk(m, image, written):
  """written: the numbered lines of the carried task, from before and after."""
  lines = written.splitlines(keepends=True)
  numbers = [int(line.split()[0]) for line in lines]
  before = "".join(line for line in lines if line.split()[1] == m.from_release)
  m.check(numbers == list(range(1, len(lines) + 1)) and before and before != written,
          f"the carried task's {len(lines)} lines are there, one after the other, from both kernels")
  with upgrades.Disk(m, image) as disk:
    m.fact("journal_needs_recovery", disk.needs_recovery())
    m.check(not disk.needs_recovery(), "straight after the jump the file system's journal is empty")
    m.check(disk.fsck() == 0, "fsck finds nothing straight after the jump")
    m.check(disk.text("/var/tmp/unsynced-lines") == before, "what the carried task wrote and did not sync was on the disk then, to the last line")
    m.check(disk.text("/var/tmp/plain") == "written and not synced\n", "so was what another one wrote")


def check_network(m, journey):
  after = m.ip_json()
  for what in ("link", "addr", "route", "route6", "rule"):
    m.check(upgrades.stable(journey.network[what]) == upgrades.stable(after[what]), f"ip {what} is the same before and after")
  known = {(n["dst"], n.get("lladdr")) for n in journey.network["neigh"] if n.get("lladdr")}
  now = {(n["dst"], n.get("lladdr")) for n in after["neigh"]}
  m.check(known <= now, f"all neighbours are known again ({known - now})")
