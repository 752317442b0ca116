"""A panic and a restart nobody asked for end whatever waits for the machine at once, with the reason."""

import re

from labkit import qemu

FROM = "6.12"
TAGS = {"long"}
TIMEOUT = 240
BOOT = False
# (what, what is done in the guest, what the reason says)
DEATHS = (("a panic", "echo c > /proc/sysrq-trigger", "kernel panic|kernel oops"),
          ("a restart nobody asked for", "echo b > /proc/sysrq-trigger", "QEMU ended"))


def run(m):
  for what, command, reason in DEATHS:
    m.boot()
    m.ssh("sync")
    start = m.now()
    try:
      m.ssh(command, timeout=60, check=False)
      m.wait_console("this is never said", 60)
      m.check(False, f"{what} is noticed")
    except qemu.GuestDied as error:
      seconds = m.now() - start
      m.check(re.search(reason, str(error)) and seconds < 20,
              f"{what} is noticed, after {seconds:.1f} s, as: " + str(error).splitlines()[0])
      m.check("last lines" in str(error) and len(str(error).splitlines()) > 10, "the console's last lines are shown")
