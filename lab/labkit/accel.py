"""How QEMU shall run code here: KVM only where a stock kernel has been seen to reach its PID 1 with it.

A /dev/kvm that opens proves nothing: on some machines a stock kernel then dies in its decompressor, or crawls.
"""

import json
import os
import platform
import stat
import subprocess

from . import initrd, kernels, place

CPU = "max,la57=off,erms=off,fsrm=off"           # emulated; with 4-level page tables, as almost every real machine has
SECONDS = 10
PROBE = "#!/bin/busybox sh\necho accel-probe-reached-pid-1 > /dev/console\n/bin/busybox poweroff -f\n"

_answer = None


def options():
  """QEMU's -machine, -accel and -cpu for this machine."""
  if kvm_works():
    return ["-machine", "q35", "-accel", "kvm", "-cpu", "host"]
  return ["-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", CPU]


def kvm_works():
  global _answer
  if _answer is None:
    _answer = os.environ.get("UPKEEP_LAB_KVM") == "1" if "UPKEEP_LAB_KVM" in os.environ else _remembered()
  return _answer


def _remembered():
  try:
    if not stat.S_ISCHR(os.stat("/dev/kvm").st_mode):
      return False
    os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
  except OSError:
    return False
  version = place.run(["qemu-system-x86_64", "--version"]).splitlines()[0]
  key = " / ".join([platform.release(), version, _cpu_name()])
  memory = place.CACHE / "kvm.json"
  try:
    known = json.loads(memory.read_text())
  except (OSError, ValueError):
    known = {}
  if key not in known:
    with place.progress("trying whether KVM runs a stock kernel here"):
      known[key] = _probe()
    memory.write_text(json.dumps(known, indent=1) + "\n")
    place.say("KVM is used" if known[key] else "KVM does not run a stock kernel here: emulating")
  return known[key]


def _cpu_name():
  for line in open("/proc/cpuinfo"):
    if line.startswith("model name"):
      return line.partition(":")[2].strip()
  return "?"


def _probe():
  kernel = kernels.get("6.12")
  place.CACHE.mkdir(parents=True, exist_ok=True)
  image = place.CACHE / f".kvm-probe-{os.getpid()}.cpio"
  image.write_bytes(initrd.base(kernel, PROBE, ()))
  try:
    done = subprocess.run(
        ["qemu-system-x86_64", "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "512", "-smp", "2",
         "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
         "-kernel", str(kernel.image), "-initrd", str(image), "-append", "console=ttyS0 panic=-1"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    return b"accel-probe-reached-pid-1" in done.stdout
  except subprocess.TimeoutExpired:
    return False
  finally:
    image.unlink()
