"""The root on NVMe: modules are worked out from the devices that are there. The connection of the operator dies in the middle."""

from labkit import upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
DISK = "nvme"
TAGS = {"check"}
TIMEOUT = 400
NEEDS_DEB = True
SETTINGS = {"keys": "20000"}


def run(m):
  m.check("nvme" in m.ssh("findmnt -no SOURCE /").out, "the root is on NVMe")
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  with upgrades.Journey(m) as journey:
    journey.upgrade(service.pids(), hang_up=True)
  service.verify()
  journey.verify()
  m.check("nvme" in m.ssh("findmnt -no SOURCE /").out, "the root is on NVMe again")
