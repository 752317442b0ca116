"""Every failure before the jump leads back: the service noticed a pause at most, and nothing is left behind.

In each stage the worker is killed, interrupted, hung up on; and each thing that a stage needs fails once.
"""

import json

from labkit import place, upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
TAGS = {"check"}
TIMEOUT = 900
NEEDS_DEB = True
SETTINGS = {"keys": "20000"}
STAGES = ("check", "prepare", "stop", "precopy", "park", "snapshot")

# Waits for the beginning of a stage in the newest journal, then sends the worker a signal or runs a command.
WATCH = """
import glob, json, os, subprocess, sys, time
stage, action, known, end = sys.argv[1], sys.argv[2], set(sys.argv[3].split()), time.monotonic() + 60
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))   # a stage may last less than it takes to get a turn beside upkeep's threads
while time.monotonic() < end:
  for path in set(glob.glob("/var/lib/upkeep/*/journal.jsonl")) - known:
    events = [json.loads(l) for l in open(path) if l.endswith("\\n")]
    if any(e["kind"] == "stage_begun" and e.get("stage") == stage for e in events):
      if action.startswith("SIG"): os.kill(events[0]["data"]["worker"], int(action[3:]))
      else: subprocess.run(action, shell=True)
      sys.exit(0)
  time.sleep(0.002)
sys.exit(1)
"""
NUMBERS = {"KILL": 9, "INT": 2, "HUP": 1}


class Trial:
  def __init__(self, m, service):
    self.m, self.service, self.count = m, service, 0
    m.put(WATCH, "/root/watch.py")
    m.ssh("cp -r /var/lib/upkeep /root/before 2>/dev/null; true")
    self.cron = m.ssh("systemctl is-active cron", check=False).out.strip()

  def attempt(self, what, arguments="", stage=None, action=None, to=None, expect="undone", message="", before="", after=""):
    """One upgrade that must not happen; everything about the machine is looked at afterwards."""
    m = self.m
    self.count += 1
    place.say(f"  {what}")
    known = m.ssh("ls /var/lib/upkeep/*/journal.jsonl 2>/dev/null | tr '\\n' ' '; " + before, check=False).out.strip()
    watcher = m.start(f"python3 /root/watch.py {stage} '{action}' '{known}'", f"watch-{self.count}") if stage else None
    result = m.ssh(f"upkeep upgrade --to {to or m.to_release} --carry {self.service.pid} --yes {arguments}", timeout=150, check=False)
    said = result.out + result.err
    if watcher:
      m.check(watcher.wait(70) == 0, f"{what}: the stage was reached")
    status = json.loads(m.ssh("upkeep status --wait --json", timeout=150, check=False).out) if expect else {}
    if after:
      m.ssh(after, check=False)
    outcome = (status.get("upgrade") or {}).get("outcome") if expect else None
    m.check(outcome == expect, f"{what}: it ended as {outcome}, expected {expect}: {said.strip()[-300:]}" if outcome != expect
            else f"{what}: {outcome}")
    m.check((result.rc == 0) == (expect == "dry_run"), f"{what}: exit code {result.rc}")
    if message:
      m.check(message in said + json.dumps(status), f"{what}: it says '{message}' ({said.strip()[-200:]})")
    self.nothing_left(what)

  def nothing_left(self, what):
    m = self.m
    left = m.ssh("cat /sys/kernel/kexec_loaded; cat /sys/kernel/mm/hugepages/*/nr_hugepages; grep -c /run/upkeep/ /proc/mounts; "
                 "nft list tables 2>/dev/null | grep -c upkeep; ls /run/upkeep | grep -vx lock | wc -l; "
                 "find /var/lib/upkeep -type f | grep -vc 'journal.jsonl$\\|plan.json$'", check=False).out.split()
    m.check(all(n == "0" for n in left), f"{what}: nothing is left behind ({' '.join(left)})")
    alive = m.ssh(f"readlink /proc/{self.service.pid}/exe; grep State /proc/{self.service.pid}/status; systemctl is-active cron", check=False).out
    m.check("redis" in alive and "T (" not in alive and "t (" not in alive, f"{what}: redis runs on")
    m.check(alive.strip().endswith(self.cron), f"{what}: what was stopped runs again ({alive.split()[-1]})")


def run(m):
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  t = Trial(m, service)
  t.attempt("a kernel that is not there", to="9.9", expect=None, message="9.9")
  t.attempt("a dry run", "--dry-run", expect="dry_run")
  t.attempt("the deadline is over", "--deadline 0.05", message="deadline")
  over = "mount --bind {} {}"
  t.attempt("kexec refuses", before=over.format("/bin/false", "/usr/sbin/kexec"), after="umount /usr/sbin/kexec", message="kexec")
  t.attempt("no initramfs can be built", before=over.format("/bin/true", "/usr/lib/upkeep/upkeep-init"),
            after="umount /usr/lib/upkeep/upkeep-init", message="upkeep-init")
  # Who is traced already cannot be stopped.
  t.attempt("the engine fails", stage="prepare", action=f"systemd-run -q --collect --unit tracer strace -qq -o /dev/null -p {service.pid}",
            after="systemctl stop tracer", message=str(service.pid))
  for name, number in NUMBERS.items():
    for stage in STAGES:
      # In check nothing has been touched yet, so there is nothing to undo.
      t.attempt(f"SIG{name} in {stage}", stage=stage, action=f"SIG{number}", expect="failed_before" if stage == "check" else "undone")
  service.expect_gap = False
  service.verify()
