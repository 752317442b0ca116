"""Machine: a guest as a scenario sees it.

All times are the host's CLOCK_MONOTONIC (time.monotonic()), in seconds; clients outside use the same clock.
Whatever waits, waits no longer than its timeout and raises GuestDied at once when the machine is dead.
"""

import dataclasses
import json
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

from . import accel, image, initrd, kernels, pcap, place, qemu, tcp_follow

# Succeeds once sshd greets us.
BANNER_PROBE = """
import socket, sys, time
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
  try:
    with socket.create_connection((sys.argv[1], 22), 0.5) as s:
      s.settimeout(5)
      if s.recv(4) == b"SSH-": sys.exit(0)
  except OSError:
    time.sleep(0.05)
sys.exit(1)
"""


READY = "ready"                # the snapshot's name in a qcow2 file of the "booted" cache
SNAPSHOT_FORMAT = 1            # raise when QEMU's devices (labkit/qemu.py) change
KEEP_READY = 8


@dataclasses.dataclass
class Result:
  """What a command in the guest did."""
  out: str
  err: str
  rc: int


class Client:
  """A process outside the guest, in the run's network namespace; its output goes to files of the run."""

  def __init__(self, machine, name, argv):
    self._machine, self.name = machine, name
    self.out, self.err = machine.run_dir / f"{name}.out", machine.run_dir / f"{name}.err"
    with open(self.out, "wb") as out, open(self.err, "wb") as err:
      self.process = subprocess.Popen([*machine.network.exec, *map(str, argv)], stdin=subprocess.PIPE, stdout=out,
                                      stderr=err, preexec_fn=qemu.die_with_parent)

  def tell(self, line):
    """Writes a line to its standard input."""
    self.process.stdin.write(line.encode() + b"\n")
    self.process.stdin.flush()

  def wait(self, timeout, fatal=True):
    """Its exit code. With `fatal`, a dead guest or the time being over is an error."""
    deadline = time.monotonic() + timeout
    while True:
      try:
        return self.process.wait(0.1)
      except subprocess.TimeoutExpired:
        if fatal:
          self._machine.qemu.check()
        if time.monotonic() > deadline:
          raise place.LabError(f"client {self.name} did not end within {timeout:g} s") from None

  def finish(self, timeout=30):
    """SIGTERM, wait, and the JSON object that it printed last."""
    if self.process.poll() is None:
      self.process.send_signal(signal.SIGTERM)
    self.wait(timeout)
    return self.json()

  def expect(self, pattern, timeout):
    """Waits until its output holds the pattern; the match."""
    deadline = time.monotonic() + timeout
    while True:
      ended = self.process.poll() is not None
      if m := re.search(pattern, self.out.read_text(errors="replace"), re.M):
        return m
      self._machine.qemu.check()
      if ended or time.monotonic() > deadline:
        raise place.LabError(f"client {self.name} {'ended' if ended else 'waited ' + format(timeout, 'g') + ' s'} "
                             f"without saying /{pattern}/: {self.err.read_text(errors='replace').strip()[-800:]}")
      time.sleep(0.02)

  def json(self):
    """The JSON object in the last line of its output."""
    lines = self.out.read_text(errors="replace").strip().splitlines()
    if not lines:
      raise place.LabError(f"client {self.name} said nothing: {self.err.read_text(errors='replace').strip()[-800:]}")
    return json.loads(lines[-1])

  def close(self):
    if self.process.poll() is None:
      self.process.kill()
    self.process.wait()
    self.process.stdin.close()


class Machine:
  """A guest, its network namespace, its clients. boot() starts it; close() leaves nothing behind but the run directory.

  from_, to: short or exact kernel names; both are on the disk, `from_` is booted by default.
  memory: MiB. disk: "virtio" or "nvme". deb: upkeep's package, installed in the image, or None. suite: Debian's, "trixie" or
  "bookworm". packages: of Debian, beside those that every guest has.
  """

  def __init__(self, run_dir, from_="6.12", to=None, memory=4096, cpus=2, disk="virtio", deb=None, keep=False,
               extra=(), suite=image.SUITE, packages=()):
    self.run_dir = pathlib.Path(run_dir)
    self.run_dir.mkdir(parents=True, exist_ok=True)
    self.memory, self.cpus, self.disk_kind, self.keep, self.suite = memory, cpus, disk, keep, suite
    self.deb = pathlib.Path(deb) if deb else None
    self.from_release = kernels.get(from_).release
    self.to_release = kernels.get(to or from_).release
    self.checks, self.facts = [], {}
    self.qemu, self._clients, self._master, self._master_boots, self._boot_count = None, [], None, -1, 0
    self.raw_disk, self.kernels = image.disk([self.from_release, self.to_release, *extra], self.deb, suite, packages)
    self.keys = image.ssh_key()
    self._disks = []             # overlays that split_disk() has put aside
    self.overlay = qemu.overlay(self.run_dir / "disk.qcow2", self.raw_disk)
    self.network = qemu.Network()

  # --- the machine itself ---

  def boot(self, kernel=None, append="", init=None, wait=True, timeout=120, extra_disks=(), load=None):
    """Starts the machine (again) on this run's disk. With `wait`, until ssh answers. Returns seconds until then."""
    release = kernels.get(kernel).release if kernel else self.from_release
    if release not in self.kernels:
      raise place.LabError(f"kernel {release} is not on this run's disk ({', '.join(self.kernels)})")
    self.power_off()
    k = kernels.get(release)
    words = [f"root=UUID={image.ROOT_UUID} rw console=ttyS0,115200", f"init={init}" if init else "", append]
    self._boot_count += 1
    start = time.monotonic()
    self.qemu = qemu.Qemu(self.network, self.run_dir, k.image, initrd.lab_initrd(k), " ".join(w for w in words if w),
                          [(self.overlay, self.disk_kind, "qcow2"), *extra_disks], self.memory, self.cpus, self.keep,
                          load, "console.log" if self._boot_count == 1 else f"console-{self._boot_count}.log")
    self._master_boots = -1
    if wait:
      self.wait_ssh(timeout)
    return time.monotonic() - start

  def boot_ready(self, timeout=120):
    """As boot(), but from a snapshot of this very guest that has just booted; made the first time. Seconds.

    Only as the first boot of a run. The guest's clocks stood still meanwhile: the wall clock is set, CLOCK_MONOTONIC goes on
    where the snapshot was. QEMU cannot snapshot an NVMe disk: such a guest boots.
    """
    if self._boot_count or self.disk_kind != "virtio":
      return self.boot(timeout=timeout)
    start = time.monotonic()
    key = place.digest(self.raw_disk.parent.name, self.from_release, self.memory, self.cpus, SNAPSHOT_FORMAT,
                       initrd.lab_initrd(kernels.get(self.from_release)), *accel.options())
    cached = place.build(place.CACHE / "booted" / key, lambda made: self._make_ready(made, timeout),
                         f"booting {self.from_release} and keeping its state")
    place.prune(cached.parent, KEEP_READY, (cached,))
    place.run(["cp", "--sparse=always", cached, self.overlay])
    self.boot(load=READY, wait=False)
    self.wait_ssh(timeout)
    self.ssh(f"date -u -s @{time.time() + 0.05:.2f}")
    return time.monotonic() - start

  def _make_ready(self, made, timeout):
    self.boot(timeout=timeout)
    state = self.wait_systemd()
    if state != "running":
      raise place.LabError(f"a fresh guest is {state}: {self.failed_units()}")
    self._run_ssh_exit()
    self.qemu.monitor.human(f"savevm {READY}")
    self.power_off()
    # moved, not copied: this run takes a copy like every later one
    shutil.move(self.overlay, made)

  def _run_ssh_exit(self):
    """Ends the control connection and waits until the guest has nothing left of it."""
    subprocess.run([*self._ssh_argv(), "-O", "exit", image.GUEST4], capture_output=True, timeout=20)
    states = [*self.network.exec, "ss", "-Htn", "state", "connected", "exclude", "time-wait"]
    deadline = time.monotonic() + 15
    while place.run(states).strip() and time.monotonic() < deadline:
      time.sleep(0.1)
    self._drop_master()
    self.wait_console("login: ", 60)
    time.sleep(0.5)              # sshd's and logind's last processes for that session have nothing to show us

  def power_off(self):
    """Ends QEMU (like pulling the plug); the disk stays."""
    if self.qemu:
      self._drop_master()
      self.qemu.close()
      self.qemu = None

  def pause(self):
    """Stops the machine's processors; go_on() lets them run again, with the wall clock right."""
    self.qemu.monitor.command("stop")

  def go_on(self):
    self.qemu.monitor.command("cont")
    self.ssh(f"date -u -s @{time.time() + 0.05:.2f}")

  def shut_down(self, timeout=60):
    """Asks systemd to power off, and waits for it."""
    self.ssh("systemctl poweroff", check=False, timeout=20)
    deadline = time.monotonic() + timeout
    while self.qemu.process.poll() is None and time.monotonic() < deadline:
      time.sleep(0.05)
    self.power_off()

  def split_disk(self):
    """The disk as it is at this moment, as a file (qcow2) that nobody writes to any more; the machine goes on with another.

    QEMU stands still meanwhile, some tens of milliseconds, and writes down what it had put off.
    """
    before, self.overlay = self.overlay, self.overlay.with_name(f"disk-{len(self._disks) + 1}.qcow2")
    self._disks.append(before)
    self.qemu.monitor.command("stop")
    try:
      self.qemu.monitor.command("blockdev-snapshot-sync", device="disk0", format="qcow2", **{"snapshot-file": str(self.overlay)})
    finally:
      self.qemu.monitor.command("cont")
    return before

  # --- commands in it ---

  def wait_ssh(self, timeout=90):
    """Until sshd answers and a control connection stands."""
    self._drop_master()
    deadline = time.monotonic() + timeout
    probe = [*self.network.exec, "python3", "-c", BANNER_PROBE, image.GUEST4, str(timeout)]
    if self._await(self._start(probe), timeout + 10).rc != 0:
      raise place.LabError(f"no ssh after {timeout:g} s; the console's last lines:\n  "
                           + "\n  ".join(self.qemu.console.tail(15)))
    while True:
      boots = self.qemu.console.boots
      self._master = subprocess.Popen([*self._ssh_argv(), "-M", "-N", f"{image.GUEST4}"], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                      preexec_fn=None if self.keep else qemu.die_with_parent)
      while self._master.poll() is None and time.monotonic() < deadline:
        self.qemu.check()
        if self._control.exists():
          self._master_boots = boots
          return
        time.sleep(0.02)
      self._drop_master()
      self.qemu.check()
      if time.monotonic() > deadline:
        raise place.LabError(f"ssh does not let us in within {timeout:g} s")

  def ssh(self, command, timeout=60, check=True, input=None):
    """Runs a shell command in the guest as root; Result(out, err, rc). Connects again after a jump. input: bytes.

    Only connecting is tried again, never the command: a connection lost in the middle is rc 255.
    """
    self._ensure_master(timeout)
    result = self._await(self._start([*self._ssh_argv(), image.GUEST4, "--", command], input), timeout)
    if check and result.rc != 0:
      raise place.LabError(f"in the guest: {command.strip()[:200]}\nexit {result.rc}: "
                           f"{(result.err or result.out).strip()[-1500:]}")
    return result

  def start(self, command, name):
    """Starts a command in the guest over ssh and does not wait; a Client (its output in the run's files)."""
    self._ensure_master(60)
    inside = [*self._ssh_argv(), image.GUEST4, "--", command]
    return self._client(name, inside[len(self.network.exec):])

  def put(self, source, target, mode=None):
    """Copies a file (path), or bytes or text, into the guest."""
    data = source if isinstance(source, bytes) else source.encode() if isinstance(source, str) else \
        pathlib.Path(source).read_bytes()
    word = shlex.quote(str(target))
    self.ssh(f"mkdir -p $(dirname {word}) && cat > {word}" + (f" && chmod {mode:o} {word}" if mode else ""),
             input=data, timeout=120)

  def native_tests(self, room):
    """The program of tests/native/ROOM: from beside the package, or what the setting `tests` names."""
    program = pathlib.Path(self.settings["tests"] or self.deb.parent / f"tests/native/{room}/native_{room}")
    if not program.exists():
      raise place.LabError(f"{program} is not there: scripts/build native_tests, or --set tests=PROGRAM")
    return program

  def put_stripped(self, program, target):
    small = self.run_dir / "stripped"
    subprocess.run(["strip", "-o", small, program], check=True)
    self.put(small, target, 0o755)
    small.unlink()

  def get(self, source, target=None, timeout=120):
    """A file's bytes, out of the guest; also written to `target` (a path) if given."""
    self._ensure_master(timeout)
    process = self._start([*self._ssh_argv(), image.GUEST4, "--", "cat " + shlex.quote(str(source))], binary=True)
    result = self._await(process, timeout)
    if result.rc != 0:
      raise place.LabError(f"getting {source}: {result.err}")
    if target:
      pathlib.Path(target).write_bytes(result.out)
    return result.out

  def wait_systemd(self, timeout=90):
    """Until systemd has finished starting; "running" or "degraded" (see also failed_units)."""
    return self.ssh("systemctl is-system-running --wait", timeout=timeout, check=False).out.strip()

  def failed_units(self):
    out = self.ssh("systemctl list-units --failed --no-legend --plain --no-pager").out
    return [line.split()[0] for line in out.splitlines() if line.strip()]

  def uname(self):
    return self.ssh("uname -r").out.strip()

  def ip_json(self):
    """Links, addresses, routes, rules and neighbours as `ip -j` shows them: {"link": [...], ...}."""
    wanted = {"link": "-d link", "addr": "addr", "route": "route show table all",
              "route6": "-6 route show table all", "rule": "rule", "neigh": "neigh"}
    script = "; echo; ".join(f"ip -j {words}" for words in wanted.values())
    texts = [t for t in self.ssh(script).out.splitlines() if t.strip()]
    return {name: json.loads(text) for name, text in zip(wanted, texts)}

  # --- the console ---

  def console_mark(self):
    """The place in the console where it is now; for `since` of wait_console."""
    return self.qemu.console.mark()

  def wait_console(self, pattern, timeout=60, since=0):
    """(time, match) of the first console line that matches, waiting for it if need be."""
    return self.qemu.wait_console(pattern, timeout, since)

  def console_lines(self, since=0):
    """[(time, line)] of the console so far."""
    with self.qemu.console.changed:
      return list(self.qemu.console.lines[since:])

  # --- outside ---

  def client(self, name, *argv):
    """Starts a process in the namespace outside; a Client. A bare "x.py" is one of lab/peers."""
    return self._client(name, self._peer(argv))

  def ask(self, *argv, timeout=60):
    """Runs a process outside to its end; the JSON object that it printed last."""
    client = self.client(f"ask-{len(self._clients)}-{pathlib.Path(str(argv[0])).stem}", *argv)
    rc = client.wait(timeout)
    if rc != 0:
      raise place.LabError(f"{argv[0]} {argv[1] if len(argv) > 1 else ''} failed ({rc}): "
                           + client.err.read_text(errors="replace").strip()[-1000:])
    return client.json()

  def capture(self, name="capture", expression="tcp or icmp or arp or icmp6"):
    """Starts tcpdump outside; a Client with `.pcap`. Packets are there once the call returns.

    Whole packets: what was sent twice is compared (labkit/tcp_follow.py). A slot of the buffer takes the largest that segmentation
    offload makes, 64 KB, however small the packet is: hence its size (KB).
    """
    path = self.run_dir / f"{name}.pcap"
    client = self._client(name, ["tcpdump", "-i", "tap0", "--immediate-mode", "-U", "-n", "-s", "0", "-B", "65536", "-Z", "root",
                                 "--time-stamp-precision=nano", "-w", str(path), expression])
    client.pcap = path
    deadline = time.monotonic() + 10
    while b"listening on" not in client.err.read_bytes():
      if client.process.poll() is not None or time.monotonic() > deadline:
        raise place.LabError("tcpdump: " + client.err.read_text(errors="replace"))
      time.sleep(0.01)
    return client

  def end_capture(self, capture):
    """Ends a capture; how many packets it missed. Once more is harmless."""
    if capture.process.poll() is None:
      capture.process.send_signal(signal.SIGINT)
      capture.wait(10, fatal=False)
    return sum(map(int, re.findall(r"^(\d+) packets? dropped", capture.err.read_text(), re.M)))

  def resets(self, capture, port=None):
    """Ends a capture; its RST segments."""
    self.end_capture(capture)
    return pcap.resets(capture.pcap, port)

  def follow(self, capture):
    """Ends a capture; what its TCP connections tell (tcp_follow.Follower). One that missed packets cannot tell."""
    missed = self.end_capture(capture)
    if missed:
      raise place.LabError(f"the capture missed {missed} packets: it proves nothing")
    return tcp_follow.follow(capture.pcap)

  def wait_port(self, port, timeout=30):
    """Until something in the guest listens on this TCP port (a daemon's start returns before that).

    Asked inside: a connection tried too early would be answered with a reset, which captures would show.
    """
    r = self.ssh(f"timeout {timeout} sh -c 'until ss -Hltn \"sport = :{port}\" | grep -q .; do sleep 0.05; done'",
                 timeout + 30, check=False)
    if r.rc != 0:
      raise place.LabError(f"nothing listens on port {port} after {timeout:g} s")

  def now(self):
    return time.monotonic()

  # --- what the run is about ---

  def check(self, condition, what):
    """Something that must hold. All are collected; one that does not hold fails the run. Returns the condition."""
    self.checks.append({"what": what, "ok": bool(condition)})
    place.say(("  ok    " if condition else "  FAIL  ") + what)
    return bool(condition)

  def fact(self, name, value):
    """A figure for the run's JSON."""
    self.facts[name] = value
    place.say(f"  {name} = {value}")

  def save_journal(self):
    """Copies the guest's journal into the run directory, if the guest still answers."""
    if not self.qemu or self.qemu.death:
      return
    try:
      # sshd may be gone for good: do not wait long for what is only nice to have
      self._ensure_master(6)
      text = self.ssh("journalctl --no-pager -o short-monotonic --all 2>&1 | tail -n 20000", timeout=25, check=False).out
      (self.run_dir / "journal.txt").write_text(text)
    except (place.LabError, subprocess.TimeoutExpired):
      place.say("the guest's journal could not be fetched")

  def close(self, keep_disk=False):
    """Ends clients, machine and namespace."""
    for client in self._clients:
      client.close()
    self.power_off()
    self.network.close()
    if not keep_disk:
      for disk in (self.overlay, *self._disks):
        disk.unlink(missing_ok=True)

  def ssh_command(self):
    """How a person logs in to this guest."""
    return shlex.join([*self.network.exec, "ssh", *self._ssh_options(), f"root@{image.GUEST4}"])

  def interactive(self):
    """Gives the terminal to a shell in the guest; its exit code."""
    self._ensure_master(60)
    return subprocess.run([*self._ssh_argv(), "-t", image.GUEST4]).returncode

  # --- below: how ---

  @property
  def _control(self):
    return self.qemu.sockets / "ssh"

  def _ssh_options(self):
    return ["-i", str(self.keys / "id_ed25519"), "-o", f"UserKnownHostsFile={self.keys / 'known_hosts'}",
            "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null"]

  def _ssh_argv(self):
    # curve25519 and no compression: post-quantum key exchange costs seconds on an emulated CPU
    return [*self.network.exec, "ssh", "-F", "none", *self._ssh_options(), "-l", "root", "-o", "BatchMode=yes",
            "-o", "LogLevel=ERROR", "-o", f"ControlPath={self._control}", "-o", "KexAlgorithms=curve25519-sha256",
            "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=6"]

  def _ensure_master(self, timeout):
    self.qemu.check()
    alive = self._master and self._master.poll() is None and self._control.exists()
    if not alive or self._master_boots != self.qemu.console.boots:
      self.wait_ssh(max(timeout, 10))

  def reconnect(self, timeout=60):
    """Drops the control connection and makes a new one."""
    self.wait_ssh(timeout)

  def _drop_master(self):
    if self._master:
      if self._master.poll() is None:
        self._master.kill()
      self._master.wait()
      if self._master.stderr:
        self._master.stderr.close()
      self._master = None
    if self.qemu:
      self._control.unlink(missing_ok=True)

  def _start(self, argv, data=None, binary=False):
    # a file and not a pipe: communicate() of Python 3.11 forgets its input after a timeout
    with tempfile.TemporaryFile() as source:
      source.write(data or b"")
      source.seek(0)
      process = subprocess.Popen(argv, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 preexec_fn=qemu.die_with_parent)
    process.lab_binary = binary
    return process

  def _await(self, process, timeout):
    deadline = time.monotonic() + timeout
    try:
      while True:
        try:
          out, err = process.communicate(timeout=0.25)
          return Result(out if process.lab_binary else out.decode(errors="replace"), err.decode(errors="replace"),
                        process.returncode)
        except subprocess.TimeoutExpired:
          self.qemu.check()
          if time.monotonic() > deadline:
            raise place.LabError(f"no answer within {timeout:g} s: {shlex.join(process.args[-1:])[:200]}") from None
    finally:
      if process.poll() is None:
        # not communicate(): the control connection holds the other ends of these pipes too, and may hang
        process.kill()
        process.wait()
      process.stdout.close()
      process.stderr.close()

  def _peer(self, argv):
    first = str(argv[0])
    if first.endswith(".py") and "/" not in first:
      return ["python3", str(place.LAB / "peers" / first), *map(str, argv[1:])]
    return [str(a) for a in argv]

  def _client(self, name, argv):
    client = Client(self, name, argv)
    self._clients.append(client)
    return client
