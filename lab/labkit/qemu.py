"""One virtual machine: a network namespace of its own, QEMU in it, its serial console and its monitor.

The namespace holds one tap device with 10.77.0.1/24 and fd77::1/64; the guest is 10.77.0.2 and fd77::2. QEMU's user
networking would end TCP itself; through the tap a client in the namespace talks to the guest's own TCP.
"""

import ctypes
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from . import accel, image, place

PANIC = re.compile(r"Kernel panic - not syncing|---\[ end Kernel panic")
OOPS = re.compile(r"BUG: unable to handle|BUG: kernel NULL|Oops: |general protection fault|kernel BUG at|"
                  r"watchdog: BUG: soft lockup|lab-initrd: (?:no device|cannot mount)")
NEW_KERNEL = re.compile(r"\] Linux version |^Linux version |upkeep-init: pid 1")
TAIL = 40


class GuestDied(place.LabError):
  """The machine panicked, vanished, or ran out of its time."""


_libc = ctypes.CDLL(None, use_errno=True)


def _own_session():
  # Ctrl-C is ours to handle; and the scheduler groups by session (CONFIG_SCHED_AUTOGROUP): a guest, and a client that
  # measures it, shall not share one group's time with a compiler that runs beside the lab
  os.setsid()


def die_with_parent():
  """For preexec_fn: a session of its own, and the child goes when we go."""
  _libc.prctl(1, signal.SIGKILL)                                  # PR_SET_PDEATHSIG
  _own_session()


class Console:
  """Reads the serial console, stamps each line with the host's CLOCK_MONOTONIC, notices a dying kernel.

  lines: list of (time, text). A line's time is that of its first character.
  """

  def __init__(self, path, logfile, on_death):
    self.lines, self.boots = [], 0
    self.changed = threading.Condition()
    self._on_death, self._partial, self._partial_time = on_death, "", 0.0
    self.start = time.monotonic()
    self._log = open(logfile, "w", buffering=1, errors="replace")
    self._log.write(f"# seconds since QEMU started (host CLOCK_MONOTONIC {self.start:.6f})\n")
    self._socket = _connect(path, 10)
    self._thread = threading.Thread(target=self._read, daemon=True, name="console")
    self._thread.start()

  def _read(self):
    while True:
      try:
        data = self._socket.recv(65536)
      except OSError:
        data = b""
      now = time.monotonic()
      with self.changed:
        if not data:
          if self._partial:
            self._line(self._partial_time, self._partial)
          self.changed.notify_all()
          return
        text = self._partial + data.decode(errors="replace").replace("\r", "")
        if not self._partial:
          self._partial_time = now
        *whole, rest = text.split("\n")
        for line in whole:
          self._line(self._partial_time, line)
          self._partial_time = now
        self._partial = rest
        self.changed.notify_all()

  def _line(self, when, text):
    text = re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[()].|\][^\x07\x1b]*(\x07|\x1b\\)?|.)", "", text)
    self.lines.append((when, text))
    self._log.write(f"[{when - self.start:11.6f}] {text}\n")
    if NEW_KERNEL.search(text):
      self.boots += 1
    if PANIC.search(text):
      self._on_death("kernel panic", grace=2.0)
    elif OOPS.search(text):
      self._on_death("kernel oops: " + text.strip(), grace=4.0)

  def send(self, text):
    self._socket.sendall(text.encode())

  def mark(self):
    with self.changed:
      return len(self.lines)

  def search(self, pattern, since=0):
    """(time, match) of the first line from number `since` on that matches, or None. Call with `changed` held."""
    for when, line in self.lines[since:]:
      if m := pattern.search(line):
        return when, m
    if self._partial and (m := pattern.search(self._partial)):
      return self._partial_time, m
    return None

  def tail(self, count=TAIL):
    with self.changed:
      return [line for _, line in self.lines[-count:]] + ([self._partial] if self._partial else [])

  def close(self):
    # the thread sees the end of the stream once QEMU is gone; what is still in the socket belongs to the log
    self._thread.join(2.0)
    self._socket.close()
    self._thread.join(2.0)
    self._log.close()


def _connect(path, timeout):
  deadline = time.monotonic() + timeout
  while True:
    s = socket.socket(socket.AF_UNIX)
    try:
      s.connect(str(path))
      return s
    except OSError:
      s.close()
      if time.monotonic() > deadline:
        raise
      time.sleep(0.01)


class Monitor:
  """QMP: one command at a time; remembers events."""

  def __init__(self, path):
    self._socket = _connect(path, 10)
    self._file = self._socket.makefile("rb")
    self.events = []
    self._lock = threading.Lock()
    json.loads(self._file.readline())
    self.command("qmp_capabilities")

  def command(self, name, **arguments):
    with self._lock:
      self._socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
      while line := self._file.readline():
        answer = json.loads(line)
        if "event" in answer:
          self.events.append(answer)
        elif "error" in answer:
          raise place.LabError(f"QEMU: {name}: {answer['error']['desc']}")
        else:
          return answer["return"]
      raise GuestDied("QEMU closed its monitor")

  def human(self, line):
    """A command of the human monitor, for what QMP lacks or makes a long job of (savevm, loadvm)."""
    answer = self.command("human-monitor-command", **{"command-line": line})
    if answer.strip():
      raise place.LabError(f"QEMU: {line}: {answer.strip()}")

  def close(self):
    self._file.close()
    self._socket.close()


class Network:
  """A network namespace with a tap device, gone at the end."""

  _made = itertools.count(1)

  def __init__(self):
    self.name = f"upk-{os.getpid()}-{next(self._made)}"
    self.exec = ["ip", "netns", "exec", self.name]
    place.run(["ip", "netns", "add", self.name])
    try:
      for words in ("link set lo up", "tuntap add dev tap0 mode tap",
                    f"addr add {image.HOST4}/24 dev tap0", f"addr add {image.HOST6}/64 dev tap0 nodad",
                    "link set tap0 up"):
        place.run(["ip", "-n", self.name, *words.split()])
    except BaseException:
      self.close()
      raise

  def close(self):
    subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


class Qemu:
  """A running QEMU. Fails fast: `check()` raises GuestDied as soon as the machine is known to be dead.

  kernel, initrd: paths; append: the command line; disks: list of (path, "virtio"|"nvme", "qcow2"|"raw"), the first is
  the root disk. `load` is the name of a snapshot in the first disk to start from.
  """

  def __init__(self, network, run_dir, kernel, initrd, append, disks, memory=4096, cpus=2, keep=False, load=None,
               console_name="console.log"):
    self.run_dir, self.network, self.death = pathlib.Path(run_dir), network, None
    self._dying = None
    self._sockets = pathlib.Path(tempfile.mkdtemp(prefix="upkeep-lab-"))
    argv = [*network.exec, "qemu-system-x86_64", *accel.options(), "-nodefaults", "-no-user-config", "-display", "none",
            "-vga", "none", "-name", "upkeep-lab", "-m", str(memory), "-smp", str(cpus),
            "-kernel", str(kernel), "-initrd", str(initrd), "-append", append,
            # kexec never resets the machine; what does is a triple fault or a reboot: the end of a run
            "-no-reboot",
            "-chardev", f"socket,id=con,path={self._sockets}/console,server=on,wait=on", "-serial", "chardev:con",
            "-qmp", f"unix:{self._sockets}/qmp,server=on,wait=off",
            "-netdev", "tap,id=net0,ifname=tap0,script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net0,mac={image.MAC},romfile=",
            "-object", "rng-random,filename=/dev/urandom,id=rng0", "-device", "virtio-rng-pci,rng=rng0"]
    for number, (path, kind, form) in enumerate(disks):
      argv += ["-drive", f"file={path},if=none,id=disk{number},format={form},cache=unsafe,discard=unmap"
                         + (",readonly=on" if form == "raw" else "")]
      argv += ["-device", {"virtio": f"virtio-blk-pci,drive=disk{number},serial=disk{number}",
                           "nvme": f"nvme,drive=disk{number},serial=disk{number}"}[kind]]
    if load:
      argv += ["-loadvm", load]
    (self.run_dir / "qemu.cmdline").write_text("\n".join(argv) + "\n")
    self._errors = open(self.run_dir / "qemu.stderr", "w")
    self.console = self.monitor = None
    self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors,
                                    preexec_fn=_own_session if keep else die_with_parent)
    try:
      self.console = Console(self._sockets / "console", self.run_dir / console_name, self._noticed)
      self.monitor = Monitor(self._sockets / "qmp")
    except OSError:
      self.close()
      raise GuestDied("QEMU did not start: " + (self.run_dir / "qemu.stderr").read_text().strip()) from None
    except BaseException:
      self.close()
      raise
    threading.Thread(target=self._watch, daemon=True, name="qemu").start()

  def _watch(self):
    code = self.process.wait()
    if not self.death:
      time.sleep(0.1)          # the console thread may still be reading the reason
    with self.console.changed:
      self.death = self.death or (self._dying and self._dying[0]) or f"QEMU ended by itself ({code})"
      self.console.changed.notify_all()

  def _noticed(self, why, grace):
    if not self._dying:
      self._dying = (why, time.monotonic() + grace)
      threading.Timer(grace, self.kill, (why,)).start()

  def kill(self, why):
    """Ends the machine; whoever waits for it learns why."""
    self.death = self.death or why
    self.process.kill()

  def check(self):
    if self.death:
      raise GuestDied(f"{self.death}; the console's last lines:\n  " + "\n  ".join(self.console.tail()))

  def find_console(self, pattern, timeout, since=0):
    """Waits for a console line from number `since` on; (time, match), or None where it has not come in time."""
    pattern = re.compile(pattern) if isinstance(pattern, str) else pattern
    deadline = time.monotonic() + timeout
    with self.console.changed:
      while True:
        if found := self.console.search(pattern, since):
          return found
        left = deadline - time.monotonic()
        if self.death or left <= 0:
          break
        self.console.changed.wait(min(left, 1.0))
    self.check()
    return None

  def wait_console(self, pattern, timeout, since=0):
    """As find_console(), but a line that does not come is an error, with what tells a hang from a host that is too busy."""
    before = self.processor_time()
    if found := self.find_console(pattern, timeout, since):
      return found
    used = self.processor_time() - before
    self.save_registers()
    raise place.LabError(f"the console did not show /{getattr(pattern, 'pattern', pattern)}/ within {timeout:g} s, in which QEMU had "
                         f"{used:.1f} s of processor time; its last lines:\n  " + "\n  ".join(self.console.tail(15)))

  def processor_time(self):
    """Seconds that QEMU has had of the host's processors."""
    user, system = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

  def save_registers(self):
    """Writes where each CPU is, three times, to registers.txt: tells a hang from a crawl."""
    try:
      with open(self.run_dir / "registers.txt", "a") as f:
        for _ in range(3):
          f.write(self.monitor.command("human-monitor-command", **{"command-line": "info registers -a"}) + "\n")
          time.sleep(0.2)
    except (OSError, place.LabError):
      pass                       # only a help for whoever looks into a failure that is reported anyway

  def close(self):
    self.death = self.death or "ended"
    if self.process.poll() is None:
      self.process.kill()
    self.process.wait()
    if self.console:
      self.console.close()
    if self.monitor:
      self.monitor.close()
    self._errors.close()
    shutil.rmtree(self._sockets, ignore_errors=True)

  @property
  def sockets(self):
    return self._sockets


def overlay(path, backing):
  """A qcow2 file on top of a cached disk."""
  place.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, path])
  return path
