"""Images that were damaged on the way: refused before any task is made; the machine starts and says so."""

from labkit import physical, upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
TAGS = {"check"}
TIMEOUT = 400
NEEDS_DEB = True
SETTINGS = {"keys": "20000"}


def run(m):
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  with upgrades.Journey(m) as journey:
    # between the kernels, from outside the machine, as memory that goes bad would
    journey.upgrade(service.pids(), on_boot=lambda address: physical.damage(m, address))
  journey.verify_not_restored("corrupted.*wrong checksum")
  m.check(m.ssh("pgrep -c redis-server", check=False).out.strip() == "0", "redis does not run")
