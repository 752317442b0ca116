"""A live upgrade: redis with a client outside that writes a number every 20 ms and cannot reconnect.

--set bare=yes also measures what the same jump takes kexec-tools alone, with the initramfs that upkeep built.
"""

from labkit import bare, upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.12", "6.18", "7.3")
KERNELS = EXTRA
PAIRS = {"check": [("6.12", "7.3", "--set bare=yes")],
         "long": [(a, b) for a in KERNELS for b in KERNELS if a != b] + [("6.1", "6.12", "--set guest=bookworm")]}
# What cannot be done: `upkeep check` says so beforehand, by name, and nothing is touched.
REFUSED = {("7.3", "6.1"): "restartable sequences"}
TIMEOUT = 400
MEMORY = 2048   # enough; QEMU goes through all of it when it takes or loads a snapshot, some 300 MiB a second where the host's is cold
NEEDS_DEB = True
SETTINGS = {"keys": "200000", "bare": "no"}
INITRAMFS = "/var/tmp/initramfs.cpio"


def run(m):
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  for (from_, to), why in REFUSED.items():
    if m.from_release.startswith(from_ + ".") and m.to_release.startswith(to + "."):
      return refused(m, service, why)
  measure = m.settings["bare"] == "yes"
  if measure:   # it lies on a tmpfs that does not outlive the jump
    m.ssh("systemd-run -q --collect sh -c 'while [ \"$(cat /sys/kernel/kexec_loaded)\" != 1 ]; do sleep 0.1; done; "
          f"cp /run/upkeep/*/initramfs.cpio {INITRAMFS}'")
  with upgrades.Journey(m) as journey:
    journey.upgrade(service.pids())
  service.verify()
  journey.verify()
  window, outside = m.facts["window_s"], m.facts["window_outside_s"]
  m.check(outside <= 1.25 * window, f"outside it is {outside:.2f} s, at most 1.25 times the window of {window:.2f} s")
  parts = sum(part["s"] for part in m.facts["window"]["parts"])
  m.check(abs(parts - outside) <= 0.05 * outside, f"the window's parts, {parts:.2f} s, are within 5 % of what was seen outside")
  if measure:
    measure_bare(m, window)


def refused(m, service, why):
  """Check and upgrade both say why, and the service does not notice."""
  service.expect_gap = False
  for command in ("check", "upgrade --yes"):
    done = m.ssh(f"upkeep {command} --to {m.to_release} --carry {service.pid}", check=False, timeout=120)
    m.check(done.rc == 1 and why in done.out + done.err and f"{service.pid} (redis-server)" in done.out + done.err,
            f"`upkeep {command}` refuses: {(done.out + done.err).strip()[-400:]}")
  m.fact("refused", why)
  m.check(m.ssh("cat /sys/kernel/kexec_loaded").out.strip() == "0" and m.uname() == m.from_release, "nothing was touched")
  service.verify()


def measure_bare(m, window):
  image = m.run_dir / "initramfs.cpio"
  m.get(INITRAMFS, image)
  m.pause() if m.keep else m.power_off()   # one machine at a time has the processors
  directory = m.run_dir / "bare"
  directory.mkdir()
  times = bare.measure(m.from_release, m.to_release, image, marker=upgrades.PID1, legs=3, memory=m.memory, run_dir=directory, deb=m.deb,
                       suite=m.suite)
  if m.keep:
    m.go_on()
  m.fact("bare_kexec_legs_s", times)
  m.fact("bare_kexec_s", bare.median(times))
  m.check(window <= 2 * bare.median(times), f"the window is at most twice a bare kexec of {bare.median(times):.2f} s")
