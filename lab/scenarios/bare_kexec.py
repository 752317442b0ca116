"""A bare kexec with kexec-tools alone: jump to PID 1 of the lab's initramfs, three times."""

from labkit import bare, initrd, kernels

FROM, TO = "6.12", "7.3"
TAGS = {"long"}
TIMEOUT = 240
BOOT = False
SETTINGS = {"legs": "3"}


def run(m):
  image = initrd.lab_initrd(kernels.get(m.to_release))
  legs = int(m.settings["legs"])
  directory = m.run_dir / "bare"
  directory.mkdir()
  times = bare.measure(m.from_release, m.to_release, image, legs=legs, run_dir=directory, deb=m.deb, suite=m.suite)
  m.check(len(times) == legs and all(0.2 < t < 60 for t in times), f"{legs} jumps took a plausible time each: {times}")
  m.fact("legs", times)
  m.fact("bare_kexec_s", bare.median(times))
