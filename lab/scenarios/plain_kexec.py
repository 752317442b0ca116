"""An ordinary restart by kexec, as any administrator does it: services end and start anew, connections die.

What upkeep is compared with, and the proof that the lab follows a guest through a jump.
"""

import re

from labkit import initrd, kernels

FROM, TO = "6.12", "7.3"
TAGS = {"long"}
TIMEOUT = 240


def run(m):
  m.ssh("redis-server --daemonize yes --bind 0.0.0.0 --protected-mode no --save '' --pidfile /run/redis.pid")
  m.wait_port(6379)
  writer = m.client("writer", "redis_numbered_writer.py", "--drain", "5")
  writer.expect("^acked", 20)
  m.put(initrd.lab_initrd(kernels.get(m.to_release)), "/run/lab-initrd")
  m.ssh(f"kexec -l /boot/vmlinuz-{m.to_release} --initrd=/run/lab-initrd --reuse-cmdline", timeout=60)
  mark = m.console_mark()
  start = m.now()
  m.ssh("systemd-run --quiet systemctl kexec")
  m.wait_console("Linux version " + re.escape(m.to_release), 90, mark)
  release = m.uname()
  m.fact("kexec_to_ssh_s", round(m.now() - start, 2))
  m.check(release == m.to_release, f"the same machine now runs {release}")
  m.check(m.wait_systemd() == "running", "systemd is running")
  writer.process.terminate()
  writer.wait(20)
  m.check(writer.json()["connection"] in ("reset", "closed", "timed out"), "the client's connection did not live on")
  m.check(m.ssh("pgrep redis-server", check=False).rc != 0, "nor did the server")

