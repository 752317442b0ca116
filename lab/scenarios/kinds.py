"""Every kind of object that upkeep makes again, each in the native test of it, goes to another kernel with its test.

The tests are those of tests/native/native_rebuild: each runs in a process of its own, which makes its subjects, waits until the machine has
been carried, itself and them with it, and goes on to what must hold. Those that carry nothing, or only themselves, are left out.
"""

import fnmatch
import json
import os
import pathlib
import subprocess

from labkit import place, upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
PAIRS = {"long": [("6.12", "7.3"), ("7.3", "6.12")]}
TIMEOUT = 1800
NEEDS_DEB = True
# tests: the program; only: a pattern of tests, as gtest takes it; batch: as many are carried at once, from a machine booted anew
SETTINGS = {"tests": "", "only": "*", "batch": "40"}
DIRECTORY = "/root/kinds"
NOT_WITH_A_MACHINE = "not carried with a machine: "
OUTSIDE = "systemd-run --quiet --pipe --wait --collect "   # nobody stops himself


def run(m):
  program, names = choose(m)
  most = int(m.settings["batch"])
  outcome = {}
  for at in range(0, len(names), most):
    if at:
      m.boot()
      m.check(m.wait_systemd() == "running", f"systemd is content ({m.failed_units()})")
    bring(m, program)
    outcome |= carry(m, names[at:at + most])
  m.fact("kinds", outcome)


def carry(m, names):
  """{test: what came of it}, all through one upgrade, or as many as can be."""
  begun = in_guest(m, "start", names, 900)
  outcome = {name: dict(left_out(found)) for name, found in begun["ended"].items()}
  outcome |= {name: {"result": "failed", "why": "it was not ready in time"} for name in begun["late"]}
  waiting = begun["waiting"]
  place.say(f"{len(waiting)} of {len(names)} tests wait to be carried")
  m.check(not begun["late"], f"all are ready, or have ended ({begun['late']})")
  for name, why in refused(m, waiting).items():
    outcome[name] = {"result": "refused", "why": why}
    del waiting[name]
  with upgrades.Journey(m) as journey:
    journey.upgrade(waiting.values(), timeout=300)
  s = journey.summary
  m.check(s["outcome"] == "upgraded" and m.uname() == m.to_release, f"{len(waiting)} tests and their subjects: {s['outcome']} {s.get('message', '')}")
  m.check(m.wait_systemd() == "running", f"systemd is content ({m.failed_units()})")
  ended = in_guest(m, "go_on", None, 900)
  for name in waiting:
    outcome[name] = ended["ended"].get(name, {"result": "failed", "why": "it did not come to its end" if name in ended["late"] else "it is gone"})
  for name in names:
    tell(m, name, outcome.setdefault(name, {"result": "failed", "why": "nothing is known of it"}), name in waiting)
  return outcome


def tell(m, name, found, carried):
  if found["result"] == "refused" and m.to_release in found["why"]:
    m.check(True, f"{name}: refused, because {found['why'].partition(', which ')[2]} it")
    return
  if carried or found["result"] in ("failed", "refused"):
    m.check(found["result"] == "held", f"{name}: held across" if found["result"] == "held" else f"{name}: {found['result']}: {found['why'][:300]}")


def left_out(found):
  """What came of a test that did not wait, as to other kernels."""
  if NOT_WITH_A_MACHINE in found["why"]:
    return {"result": "left out", "why": found["why"].partition(NOT_WITH_A_MACHINE)[2].splitlines()[0].rstrip('"').split('" thrown')[0]}
  if found["result"] == "held":
    return {"result": "left out", "why": "it carries nothing"}
  return found


def bring(m, program):
  m.ssh(f"rm -rf {DIRECTORY} && mkdir -p {DIRECTORY}")
  m.put_stripped(program, f"{DIRECTORY}/tests")
  m.put(pathlib.Path(place.LAB / "kinds_in_guest.py"), f"{DIRECTORY}/in_guest.py")
  m.ssh("dmesg -n 3")   # some filters of system calls are told of


def choose(m):
  """The program, and the names of its tests."""
  program = m.native_tests("native_rebuild")
  listed = subprocess.run([program, "--gtest_list_tests", f"--gtest_filter={m.settings['only']}"], check=True, capture_output=True, text=True, timeout=60).stdout
  names, suite = [], ""
  for line in listed.splitlines():
    if line and not line.startswith(" ") and line.endswith("."):
      suite = line
    elif line.startswith("  "):
      names.append(suite + line.split("#")[0].strip())
  # Those last that leave the processors no rest, or wait for a time, which has to be until after the jump.
  return program, sorted(names, key=lambda name: name.startswith(("Identity.StrictMode", "Crossing.", "InterruptedCalls.")))


def in_guest(m, word, given, timeout):
  done = m.ssh(f"python3 {DIRECTORY}/in_guest.py {word} {DIRECTORY}", timeout=timeout, input=json.dumps(given).encode())
  return json.loads(done.out)


def refused(m, waiting):
  """{test: why} of those that `upkeep check` does not accept; they are ended."""
  why = {}
  for _ in range(3):
    pids = " ".join(str(pid) for name, pid in waiting.items() if name not in why)
    report = json.loads(m.ssh(f"{OUTSIDE}upkeep check --to {m.to_release} --carry {pids} --json", check=False,
                              timeout=300).out)
    found = [f for f in report["findings"] if f["severity"] == "refused"]
    if not found:
      return why
    owners = in_guest(m, "owners", [int(f["what"].split()[0]) for f in found if f["what"].split()[0].isdigit()], 60)
    before = len(why)
    for f in found:
      test = owners.get(f["what"].split()[0])
      if test:
        why.setdefault(test, f"{f['what']}: {f['why']}")
      else:
        place.say(f"  refused, and no test's: {f['what']}: {f['why']}")
    if len(why) == before:
      break
    in_guest(m, "end", list(why), 120)
  raise place.LabError("what is refused is not one test's or another's: " + json.dumps(found)[:1500])
