"""What scenarios of upgrades have in common: the services that are carried, with their clients, and the upgrade itself.

A service knows how it is started in the guest, which PIDs are carried, and what must hold afterwards. A Journey takes the machine
from one kernel to the other and compares everything around the services before and after.
"""

import json
import re
import subprocess
import time

from . import place

PID1 = r"upkeep-init: pid 1"


class Redis:
  """redis-server with `keys` keys that nobody writes to, and a client outside that writes a number every 20 ms."""

  PORT = 6379

  def __init__(self, m, keys=20000, port=PORT):
    self.m, self.keys, self.port = m, keys, port
    self.expect_gap = True   # an upgrade's; what undo makes is too short to be one

  def start(self):
    m = self.m
    m.ssh(f"redis-server --daemonize yes --bind 0.0.0.0 :: --port {self.port} --protected-mode no --save '' --dir /var/lib/redis "
          f"--logfile /var/log/redis/carried.log --pidfile /run/redis-carried.pid")
    m.wait_port(self.port)
    self.pid = int(m.ssh("cat /run/redis-carried.pid").out)
    m.ask("redis_data.py", "fill", "--keys", self.keys)
    self.before = m.ask("redis_data.py", "digest", "--keys", self.keys)
    self.bytes = int(m.ask("redis_data.py", "info")["used_memory"])
    self.writer = m.client("writer", "redis_numbered_writer.py")
    self.writer.expect("^acked", 20)

  def pids(self):
    return [self.pid]

  def verify(self):
    m = self.m
    if self.expect_gap:
      try:
        self.writer.expect("^gap", 30)
      except place.LabError as error:
        m.check(False, f"the client's connection went on: {error}")
    time.sleep(1)
    self.report = self.writer.finish()
    r = self.report
    same = m.ssh(f"readlink /proc/{self.pid}/exe", check=False).out.strip()
    m.check("redis" in same, f"process {self.pid} is still redis ({same or 'gone'})")
    m.check(r["connection"] == "open", f"the same connection goes on ({r['connection']})")
    lost = m.ask("redis_numbered_writer.py", "verify", self.writer.out)
    m.check(lost["lost"] == 0 and r["acked"] > 0, f"of {r['acked']} acknowledged writes {lost['lost']} are lost")
    after = m.ask("redis_data.py", "digest", "--keys", self.keys)
    m.check(after["digest"] == self.before["digest"] and after["missing"] == 0, f"the {self.keys} keys are what they were")
    m.fact("writes_acked", r["acked"])
    m.fact("writes_lost", lost["lost"])
    m.fact("digest_equal", after["digest"] == self.before["digest"])
    m.fact("same_pid", "redis" in same)
    m.fact("same_connection", r["connection"] == "open")
    m.fact("keys", self.keys)
    m.fact("window_outside_s", r["window_outside_s"])


class Journey:
  """An upgrade of the machine, and what must be the same around it. Use as a context: it captures packets meanwhile."""

  def __init__(self, m, to=None):
    self.m, self.to = m, to or m.to_release
    self.from_ = None

  def __enter__(self):
    m = self.m
    self.from_ = m.uname()
    self.capture = m.capture(f"capture-{self.to.partition('+')[0]}")
    self.network = m.ip_json()
    return self

  def __exit__(self, *_):
    return False

  def upgrade(self, pids, arguments="", timeout=180, on_boot=None, hang_up=False):
    """Starts the upgrade as its user would and follows it into the new kernel. No pids: arguments say what is carried.

    on_boot: called with the physical address of the store when the new kernel has begun to boot.
    hang_up: end the ssh connection that it was started from as soon as it says what it does.
    """
    m = self.m
    since = self.since = m.console_mark()
    carry = f"--carry {' '.join(map(str, pids))}" if pids else ""
    client = m.start(f"upkeep upgrade --to {self.to} {carry} --yes {arguments}", "upgrade")
    with place.progress(f"upkeep upgrade --to {self.to}"):
      try:
        if hang_up:
          client.expect("ok +check", 60)
          client.process.kill()
        if on_boot:
          _, store = m.wait_console(r"upkeep\.store=0x([0-9a-f]+) ", timeout, since)
          on_boot(int(store[1], 16))
        self.pid1_at = self._await_pid1(client, timeout, since)
      except place.LabError as error:
        said = client.out.read_text(errors="replace") + client.err.read_text(errors="replace")
        raise place.LabError(f"the new kernel's PID 1 did not come up; upkeep said:\n{said[-3000:]}\n{error}") from None
    with place.progress("waiting for the machine to settle"):
      m.wait_ssh(timeout)
      self.status = json.loads(m.ssh("upkeep status --wait --json", timeout=timeout, check=False).out)
    self.summary = self.status["upgrade"]
    for stage in self.summary["stages"]:   # those that nobody was logged in to follow
      if stage["name"] in ("snapshot", "jump", "land", "restore", "resume", "settle"):
        print(f"  {stage['state']:<4} {stage['name']:<10}{stage['s']:6.2f} s  {stage['kernel']}", flush=True)
    if self.summary["outcome"] != "upgraded":   # what tells why does not outlive the machine
      logs = m.ssh("cd /run/upkeep && tail -n 200 $(find . -name '*.log'); cat /var/lib/upkeep/*/journal.jsonl", check=False).out
      (m.run_dir / "engine.log").write_text(logs)
    m.fact("window_s", self.summary.get("window_s"))
    m.fact("window", self.summary.get("window"))

  def _await_pid1(self, client, timeout, since):
    """When the new kernel's PID 1 spoke. An upgrade that ended before the jump is not waited for."""
    deadline, shown = time.monotonic() + timeout, 0
    while True:
      shown = _show(client.out, shown)
      ended = client.process.poll() not in (None, 255, -9)   # 255: ssh lost its connection, as it does in the jump; -9: we hung up
      if found := self.m.qemu.find_console(PID1, 0.5, since):
        return found[0]
      if ended or time.monotonic() > deadline:
        return self.m.wait_console(PID1, 1, since)[0]

  def verify(self):
    m, s = self.m, self.summary
    m.check(m.uname() == self.to, f"the machine runs {self.to}")
    m.check(s["outcome"] == "upgraded", f"upkeep says: {s['outcome']} {s.get('message', '')}")
    for warning in s.get("warnings", []):
      place.say(f"  warning: {warning}")
    # Port 22 is left out: the sessions of the old kernel end with it, as announced.
    resets = [r for r in m.resets(self.capture) if 22 not in (r.sport, r.dport)]
    m.check(not resets, f"no reset was seen outside ({', '.join(map(str, resets[:3]))})")
    self._follow_connections()
    state = m.wait_systemd()
    m.check(state == "running", f"systemd is {state} ({m.failed_units()})")
    mounted = m.ssh("grep ' /run/upkeep/' /proc/mounts", check=False).out.strip()
    m.check(not mounted, f"the copy of the images is gone, and its memory with it ({mounted or 'nothing is mounted'})")

  def verify_not_restored(self, why, begun=False):
    """The new kernel runs without the tasks, and says so everywhere. why: a regular expression; begun: restoring was tried."""
    m, s = self.m, self.summary
    m.check(s["outcome"] == "restore_failed" and re.search(why, s.get("message", "")), f"upkeep says {s['outcome']}: {s.get('message')}")
    m.check(m.uname() == self.to and m.wait_systemd() == "running", f"the machine has started with {self.to} ({m.failed_units()})")
    events = [json.loads(line) for line in m.get(f"/var/lib/upkeep/{s['id']}/journal.jsonl").decode().splitlines()]
    stages = {e.get("stage") for e in events if e["kind"] == "stage_begun"}
    m.check(("restore" in stages) == begun and "resume" not in stages,
            "restoring was tried, and no task ran" if begun else "it was refused before any task was made")
    m.check(any(e["kind"] == "stage_failed" and re.search(why, e.get("message", "")) for e in events), "the journal says why")
    console = [line for _, line in m.console_lines(self.since) if "could not be restored" in line]
    m.check(any(re.search(why, line) for line in console), f"the console says so: {' '.join(console)[:200]}")
    status, history = m.ssh("upkeep status", check=False), m.ssh("upkeep history")
    m.check(re.search(why, status.out) and status.rc == 1, f"`upkeep status` says so (exit code {status.rc})")
    line = next((line for line in history.out.splitlines() if s["id"] in line), "")
    m.check("restore" in line.lower() or "fail" in line.lower(), f"`upkeep history` says so: {line}")

  def _follow_connections(self):
    m = self.m
    followed = m.follow(self.capture)
    lost = followed.violations
    m.check(not lost, "no acknowledged byte was lost" + "".join(f"; {v}" for v in lost[:3]))
    jump = self.pid1_at + time.time() - time.monotonic()   # captures have the wall clock's time
    through = [c for c in followed.connections if c.crosses(jump)]
    carried = sum(c.bytes for c in through)
    m.check(carried > 0, f"{followed.bytes:,} acknowledged bytes were followed, {carried:,} of them on "
                         f"{len(through)} connection{'' if len(through) == 1 else 's'} through the upgrade")
    m.fact("bytes_followed", followed.bytes)
    m.fact("bytes_followed_through", carried)


def _show(path, shown):
  """Prints the stages that upkeep has told of in the file PATH after its first `shown` lines; how many lines there are."""
  lines = [line.rstrip() for line in path.read_text(errors="replace").splitlines(keepends=True) if line.endswith("\n")]
  for line in lines[shown:]:
    if line.startswith("  "):
      print(line, flush=True)
  return len(lines)


def stable(entries):
  """What `ip -j` says without what changes by itself: counters, times, the order."""
  moving = {"stats", "stats64", "preferred_life_time", "valid_life_time", "expires", "used", "confirmed", "updated", "probes", "refcnt",
            "gc_timer", "cacheinfo", "state", "num_rx_queues", "num_tx_queues", "gso_max_size", "gso_max_segs", "tso_max_size", "tso_max_segs",
            "gro_max_size", "gso_ipv4_max_size", "gro_ipv4_max_size"}

  def clean(value):
    if isinstance(value, dict):
      return {k: clean(v) for k, v in value.items() if k not in moving}
    return [clean(v) for v in value] if isinstance(value, list) else value

  return sorted(json.dumps(clean(e), sort_keys=True) for e in entries if e)


class Disk:
  """The root file system of a machine's disk image that nobody writes to. Use as a context."""

  def __init__(self, m, image=None):
    self._image, self._raw, self._log = image or m.overlay, m.run_dir / "disk.raw", m.run_dir / "fsck.log"

  def __enter__(self):
    subprocess.run(["qemu-img", "convert", "-O", "raw", self._image, self._raw], check=True, timeout=120)
    table = subprocess.run(["sfdisk", "--json", self._raw], check=True, capture_output=True, text=True).stdout
    self._device = f"{self._raw}?offset={json.loads(table)['partitiontable']['partitions'][0]['start'] * 512}"
    return self

  def __exit__(self, *_):
    self._raw.unlink(missing_ok=True)
    return False

  def _ask(self, *argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    with open(self._log, "a") as log:
      log.write(f"{argv[0]}: {done.returncode}\n{done.stdout if argv[0] == 'e2fsck' else ''}{done.stderr}")
    return done

  def needs_recovery(self):
    """Whether its journal has to be replayed at the next mount."""
    return "needs_recovery" in self._ask("dumpe2fs", "-h", self._device).stdout

  def fsck(self):
    """e2fsck's exit code, reading only: 0 where nothing is wrong."""
    return self._ask("e2fsck", "-fn", self._device).returncode

  def text(self, path):
    """A file's content; empty where there is none."""
    return self._ask("debugfs", "-R", f"cat {path}", self._device).stdout
