"""Every kernel boots to systemd, ssh lets us in, and its power can be cut cleanly.

--set kernels=6.12,7.3 tries only those.
"""

EXTRA = ("6.1", "6.12", "6.18", "7.3")
TAGS = {"long"}
TIMEOUT = 300
BOOT = False
SETTINGS = {"kernels": ",".join(EXTRA)}


def run(m):
  for name in m.settings["kernels"].split(","):
    seconds = m.boot(name)
    release = m.uname()
    state = m.wait_systemd()
    m.check(release.startswith(name + "."), f"{name}: uname says {release}")
    m.check(state == "running", f"{release}: systemd is running ({state}; failed: {m.failed_units()})")
    addresses = {a["local"] for link in m.ip_json()["addr"] for a in link["addr_info"]}
    m.check({"10.77.0.2", "fd77::2"} <= addresses, f"{release}: has its addresses")
    m.fact(f"boot_to_ssh_{name}", round(seconds, 1))
    m.shut_down()
