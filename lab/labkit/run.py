"""Scenario files and their runs.

A scenario is lab/scenarios/NAME.py: a docstring whose first line says what it shows, `run(m)` with m a guest.Machine,
and any of these constants:
  FROM, TO      kernels ("6.12", "7.3"); TO may be missing
  EXTRA         further kernels that shall be on the disk
  MEMORY, CPUS  of the guest (4096 MiB, 2)
  DISK          "virtio" (default) or "nvme"
  TAGS          a set; "check": part of ./check, "long": of ./check --long
  TIMEOUT       seconds for the whole of run(m), default 300
  FRESH         True: really boots; else the guest comes from a snapshot of one that has just booted (much faster)
  BOOT          False: run(m) calls m.boot() or m.boot_ready() itself
  NEEDS_DEB     True: needs upkeep in the guest
  SETTINGS      {"name": default}: what --set name=value may change; run(m) reads m.settings. Every scenario has "guest":
                the suite of Debian that it runs on, "trixie" or "bookworm"
"""

import datetime
import importlib.util
import json
import os
import pathlib
import signal
import sys
import threading
import time
import traceback

from . import guest, image, place, qemu

KEEP_RUNS = 30
EVERY_SCENARIO = {"guest": image.SUITE}   # settings


class Scenario:
  """A loaded scenario file."""

  def __init__(self, path):
    spec = importlib.util.spec_from_file_location(f"scenario_{path.stem}", path)
    self.module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(self.module)
    self.name, self.run = path.stem, self.module.run
    self.about = (self.module.__doc__ or "").strip().splitlines()[0]

  def get(self, name, default=None):
    return getattr(self.module, name, default)

  @property
  def tags(self):
    return self.get("TAGS", set())


def scenarios():
  """All of them, by name."""
  return [Scenario(p) for p in sorted((place.LAB / "scenarios").glob("*.py")) if not p.name.startswith("_")]


def scenario(name):
  path = place.LAB / "scenarios" / f"{name}.py"
  if not path.exists():
    raise place.LabError(f"no scenario is called {name}; see lab/list")
  return Scenario(path)


def default_deb():
  return os.environ.get("UPKEEP_DEB") or None


def new_run_dir(name):
  stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
  directory = place.CACHE / "runs" / f"{name}-{stamp}-{os.getpid()}"
  directory.mkdir(parents=True)
  place.prune(directory.parent, KEEP_RUNS, (directory,))
  return directory


class Interrupted(Exception):
  """A signal asked the run to end."""


def on_signals():
  """Makes SIGTERM and SIGHUP end a run as tidily as Ctrl-C."""
  def stop(number, _):
    raise Interrupted(signal.Signals(number).name)
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, stop)


def play(s, from_=None, to=None, deb=None, keep=False, timeout=None, settings=None):
  """Runs a scenario; the result as a dict (also written to result.json in the run's directory)."""
  deb = deb or default_deb()
  if s.get("NEEDS_DEB") and not deb:
    raise place.LabError(f"{s.name} needs upkeep's package: --deb FILE, or UPKEEP_DEB")
  defaults = {**EVERY_SCENARIO, **s.get("SETTINGS", {})}
  unknown = set(settings or {}) - set(defaults)
  if unknown:
    raise place.LabError(f"{s.name} has no setting called {', '.join(sorted(unknown))}")
  with place.lock("vm.lock", "another virtual machine is running on this host: waiting for it"):
    return _play(s, from_ or s.get("FROM", "6.12"), to or s.get("TO"), deb, keep, timeout or s.get("TIMEOUT", 300),
                 {**defaults, **(settings or {})})


def _play(s, from_, to, deb, keep, timeout, settings):
  run_dir = new_run_dir(s.name)
  place.say(f"scenario {s.name}: {s.about}")
  place.say(f"run directory {run_dir}")
  result = {"scenario": s.name, "ok": False, "error": None, "run_dir": str(run_dir), "deb": str(deb) if deb else None}
  machine, watchdog = None, None
  start = time.monotonic()
  try:
    machine = guest.Machine(run_dir, from_, to, s.get("MEMORY", 4096), s.get("CPUS", 2), s.get("DISK", "virtio"), deb,
                            keep, s.get("EXTRA", ()), settings["guest"], s.get("PACKAGES", ()))
    machine.settings = settings
    result |= {"from": machine.from_release, "to": machine.to_release}
    start = time.monotonic()
    watchdog = threading.Timer(timeout, _time_over, (machine, timeout))
    watchdog.daemon = True
    watchdog.start()
    if s.get("BOOT", True):
      with place.progress(f"booting {machine.from_release}"):
        machine.boot() if s.get("FRESH") else machine.boot_ready()
    s.run(machine)
    result["ok"] = bool(machine.checks) and all(c["ok"] for c in machine.checks)
    if not machine.checks:
      result["error"] = "the scenario checked nothing"
  except place.LabError as error:
    result["error"] = str(error)
  except Interrupted as error:
    result |= {"error": f"interrupted ({error})", "interrupted": True}
  except Exception as error:                       # a bug in the scenario: a result like any other, with its place
    result["error"] = f"{type(error).__name__}: {error}"
    traceback.print_exc()
  finally:
    if watchdog:
      watchdog.cancel()
    result["seconds"] = round(time.monotonic() - start, 2)
    if machine:
      result |= {"checks": machine.checks, "facts": machine.facts}
      _leave(machine, keep, result)
  (run_dir / "result.json").write_text(json.dumps(result, indent=1) + "\n")
  return result


def _time_over(machine, timeout):
  if machine.qemu:
    machine.qemu.kill(f"the scenario's {timeout:g} s are over")


def _leave(machine, keep, result):
  try:
    if not result.get("interrupted"):
      machine.save_journal()
    if keep and machine.qemu and not machine.qemu.death:
      _keep(machine)
      return
  except Interrupted as error:
    result["error"] = result["error"] or str(error)
  machine.close()


def _keep(machine):
  pid = machine.qemu.process.pid
  machine._drop_master()
  place.say("the machine goes on running. To log in:")
  place.say("  " + machine.ssh_command())
  place.say("To end it:")
  place.say(f"  kill {pid}; ip netns del {machine.network.name}")


def report(result):
  """One line for people."""
  checks = result.get("checks", [])
  failed = [c["what"] for c in checks if not c["ok"]]
  verdict = "ok" if result["ok"] else "FAILED"
  place.say(f"{result['scenario']}: {verdict}, {len(checks) - len(failed)} of {len(checks)} checks, "
            f"{result['seconds']:.1f} s")
  for what in failed:
    place.say(f"  does not hold: {what}")
  if result["error"]:
    place.say("  " + result["error"].replace("\n", "\n  "))
  return 0 if result["ok"] else 130 if result.get("interrupted") else 1


def main_guard(main):
  """Runs a command's main(); turns errors into one message and exit code 2."""
  on_signals()
  try:
    sys.exit(main())
  except place.LabError as error:
    place.say(str(error))
    sys.exit(2)
  except (Interrupted, KeyboardInterrupt) as error:
    place.say(f"interrupted ({error})")
    sys.exit(130)
