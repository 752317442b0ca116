"""Both engines on the same trees, on the same kernel, in turns: times of snapshot and restore, page contents left out."""

import json
import pathlib

from labkit import place

FROM = "6.12"
MEMORY = 8192
NEEDS_DEB = True
TIMEOUT = 3600
SETTINGS = {"rounds": "3", "only": "", "build": "build"}
BENCH = pathlib.Path(__file__).resolve().parent
DIRECTORY = "/run/bench"
MOST_OF_CRIU = 0.5      # of its time, for snapshot and restore each
MOST_AT_10000 = 1.3     # of what one costs at 100


def run(m):
  m.ssh(f"mkdir -p {DIRECTORY} && mount -t tmpfs -o size=3g bench {DIRECTORY}")
  build = pathlib.Path(m.settings["build"])
  for program in ("bench_native_engine", "bench_subject"):
    m.put(build / "bench" / program, f"{DIRECTORY}/{program}", 0o755)
  m.put(BENCH / "in_guest.py", f"{DIRECTORY}/in_guest.py")
  # Not below sshd: 10,000 tasks are more than a session may have.
  client = m.start(f"systemd-run --quiet --pipe --wait --collect -p TasksMax=infinity python3 {DIRECTORY}/in_guest.py {DIRECTORY} "
                   f"{m.settings['rounds']} '{m.settings['only']}'", "measuring")
  measured = watch(m, client)
  m.fact("measured", measured)
  m.fact("targets", targets(measured))
  for target in m.facts["targets"]:
    m.check(target["met"], f"{target['name']}: {target['value']:.2f}, at most {target['limit']}")


def watch(m, client):
  """Tells what it says on the way; what it measured."""
  seen = 0
  while True:
    ended = True
    try:
      client.wait(0.5)
    except place.LabError:
      m.qemu.check()
      ended = False
    lines = client.out.read_text(errors="replace").splitlines()
    lines = lines if ended else lines[:-1]
    for line in lines[seen:]:
      said = json.loads(line)
      if "say" not in said:
        return said
      place.say("  " + said["say"])
    seen = max(seen, len(lines))
    if ended:
      raise place.LabError(f"measuring failed: {client.err.read_text(errors='replace').strip()[-2000:]}")


def targets(measured):
  """[{"name", "value", "limit", "met"}]."""
  found = []
  for name, both in measured["ratios"].items():
    for what in ("snapshot", "restore"):
      found.append((f"{what}_ratio_{name}", both["native"][what] / both["criu"][what], MOST_OF_CRIU))
  for kind, by_number in measured["linear"].items():
    each = {number: {what: s / int(number) for what, s in times.items()} for number, times in by_number.items()}
    found.append((f"linear_{kind}", max(each["10000"][what] / each["100"][what] for what in ("snapshot", "restore")), MOST_AT_10000))
  return [{"name": name, "value": round(value, 3), "limit": limit, "met": value <= limit} for name, value, limit in found]
