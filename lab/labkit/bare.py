"""How long a bare kexec takes: kexec-tools alone, from `kexec -e` to PID 1 of the given initramfs.

A guest without any services loads the new kernel with `kexec -c -l` and stops before the jump. There a snapshot is
taken, from which every leg starts and costs only the jump.
"""

import pathlib
import statistics

from . import guest, image, kernels, place, qemu, run

SCRIPT = "/usr/lib/upkeep-lab/bare-kexec"
SNAPSHOT = "loaded"


def measure(from_, to, initrd, append="", marker=r"lab-initrd: pid 1", legs=3, memory=4096, cpus=2, run_dir=None,
            deb=None, suite=image.SUITE, timeout=60):
  """Seconds from `kexec -e` to the console line that matches `marker`, `legs` times.

  from_, to: kernel names; `deb` and `suite` only say which cached disk to use (upkeep takes no part). initrd: bytes, or the
  path of a file on this host. append: the new kernel's command line, in addition to console= and root=, if it does not say
  them itself. The caller holds the machine-wide lock (run.play does; else place.lock("vm.lock", ...)).
  """
  run_dir = pathlib.Path(run_dir) if run_dir else run.new_run_dir("bare")
  data = initrd if isinstance(initrd, bytes) else pathlib.Path(initrd).read_bytes()
  m = guest.Machine(run_dir, from_, to, memory, cpus, deb=deb, suite=suite)
  blob = run_dir / "bare-initrd.img"
  try:
    blob.write_bytes(data + b"\0" * (-len(data) % 4096))
    boot = {"append": _parameters(m, len(data), append), "init": SCRIPT, "wait": False,
            "extra_disks": [(blob, "virtio", "raw")]}
    m.boot(**boot)
    _, said = m.wait_console(r"bare-kexec: (loaded|failed.*)", timeout)
    if said[1] != "loaded":
      raise place.LabError("bare kexec: " + said[1])
    m.qemu.monitor.human(f"savevm {SNAPSHOT}")
    times = []
    for _ in range(legs):        # each in a QEMU of its own: what one has translated must not help the next
      m.boot(**boot, load=SNAPSHOT)
      times.append(_jump(m, marker, timeout))
    return times
  finally:
    m.close()
    blob.unlink(missing_ok=True)


def median(times):
  return round(statistics.median(times), 3)


def _parameters(m, size, append):
  words = append.split()
  for name, word in (("console=", "console=ttyS0,115200"), ("root=", f"root=UUID={image.ROOT_UUID}")):
    if not any(w.startswith(name) for w in words):
      words.insert(0, word)
  if any("~" in w for w in words):
    raise place.LabError("a bare kexec's command line may not contain '~'")
  return (f"lab.to={m.to_release} lab.initrd=/dev/vdb lab.initrd_size={size} lab.append={'~'.join(words)}")


def _jump(m, marker, timeout):
  since = m.console_mark()
  m.qemu.console.send("\n")
  start, said = m.wait_console(r"bare-kexec: (jump|failed.*)", timeout, since)
  if said[1] != "jump":
    raise place.LabError("bare kexec: " + said[1])
  end, _ = m.wait_console(marker, timeout, since + 1)
  return round(end - start, 3)
