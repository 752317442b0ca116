"""Three upgrades in a row on one machine, the last one a step back: the same process, the same connection, through all of them."""

from labkit import upgrades

FROM, TO = "6.1", "6.18"
EXTRA = ("6.12", "7.3")
TAGS = {"check"}
TIMEOUT = 600
NEEDS_DEB = True
SETTINGS = {"keys": "20000"}


def run(m):
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  release = {k.rsplit("+")[0].rsplit(".", 1)[0] if "+" in k else k.split("-")[0].rsplit(".", 1)[0]: k for k in m.kernels}
  for to in ("6.18", "7.3", "6.12"):
    with upgrades.Journey(m, release[to]) as journey:
      journey.upgrade(service.pids())
    journey.verify()
    m.check(len([w for w in m.ssh("cat /proc/cmdline").out.split() if w == "upkeep.begin"]) == 1, "the command line does not grow")
  service.verify()
