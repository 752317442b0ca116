"""Images that were damaged on the way: refused before any task is made; the machine starts, says so, and can discard them."""

from labkit import place, upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
TAGS = {"check"}
TIMEOUT = 400
NEEDS_DEB = True
SETTINGS = {"keys": "20000"}
# Writes into the store from outside the machine, between the kernels: through QEMU's monitor, as bad memory would.
OFFSET = 3 << 20


def run(m):
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  journey = upgrades.Journey(m)
  with journey:
    journey.upgrade(service.pids(), on_boot=lambda address: upgrades.damage(m, address + OFFSET))
  s = journey.summary
  m.check(s["outcome"] == "restore_failed", f"upkeep says {s['outcome']}: {s.get('message')}")
  m.check("checksum" in s.get("message", "").lower() or "corrupt" in s.get("message", "").lower() or "damaged" in s.get("message", "").lower(),
          f"it says what is wrong: {s.get('message')}")
  m.check(m.uname() == m.to_release and m.wait_systemd() == "running", "the machine has started")
  m.check(m.ssh("pgrep -c redis-server", check=False).out.strip() == "0", "no task was made")
  m.check(any("could not be restored" in line for line in m.qemu.console.tail(4000)), "the console says so")
