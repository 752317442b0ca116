"""Images of which a part is missing: refused before any task is made; the machine starts, says so, and can be upgraded again.

Twice on the same machine: first the store's second half is gone (images, manifest, table of files), then its header says that it
is shorter than it is.
"""

from labkit import physical, upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
TAGS = {"long"}
TIMEOUT = 400
NEEDS_DEB = True
SETTINGS = {"keys": "20000"}


def run(m):
  there, back = m.to_release, m.from_release
  lose(m, there, physical.cut_tail, "table")
  lose(m, back, physical.cut_length, "header")


def lose(m, to, cut, why):
  service = upgrades.Redis(m, int(m.settings["keys"]))
  service.start()
  with upgrades.Journey(m, to) as journey:
    journey.upgrade(service.pids(), on_boot=lambda address: cut(m, address))
  journey.verify_not_restored(why)
  m.check(m.ssh("pgrep -c redis-server", check=False).out.strip() == "0", "redis does not run")
  id_ = journey.summary["id"]
  kept = m.ssh(f"ls /var/lib/upkeep/{id_}").out.split()
  m.check("images.store" not in kept, f"what is not whole is not kept ({' '.join(kept)})")
  again = m.ssh(f"upkeep restore {id_}", check=False)
  m.check(again.rc == 1 and "no images" in again.err + again.out, f"`upkeep restore` says that there is nothing: {again.err.strip()}")
  service.writer.process.kill()
