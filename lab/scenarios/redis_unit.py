"""redis-server as Debian's unit runs it, with a subscriber and a writer outside, while a background save is running: the child that
saves is carried too, and ends its work in the new kernel."""

import time

from labkit import upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
PAIRS = {"long": [("6.12", "7.3"), ("7.3", "6.12")]}
TIMEOUT = 500
NEEDS_DEB = True
SETTINGS = {"keys": "20000"}
UNIT = "redis-server.service"
MICROSECONDS = 4000   # that the child sleeps after each key: the save takes longer than the upgrade


def run(m):
  keys = int(m.settings["keys"])
  m.ssh("sed -i 's/^bind .*/bind * -::*/; s/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf; systemctl start redis-server", timeout=60)
  m.wait_port(6379)
  m.ask("redis_data.py", "fill", "--keys", keys)
  before = m.ask("redis_data.py", "digest", "--keys", keys)
  writer, subscriber = m.client("writer", "redis_numbered_writer.py"), m.client("subscriber", "redis_subscriber.py")
  writer.expect("^acked", 20)
  subscriber.expect("^heard", 20)
  main = int(m.ssh(f"systemctl show -p MainPID --value {UNIT}").out)
  m.ssh(f"redis-cli config set rdb-key-save-delay {MICROSECONDS}; redis-cli bgsave")
  saver = int(m.ssh(f"timeout 20 sh -c 'until pgrep -P {main}; do sleep 0.1; done'").out.split()[0])
  with upgrades.Journey(m) as journey:
    journey.upgrade([], f"--carry-unit {UNIT}")
  journey.verify()
  m.check(persistence(m)["rdb_bgsave_in_progress"] == "1" and str(saver) in m.ssh(f"pgrep -P {main}", check=False).out.split(),
          f"process {saver} goes on saving below {main}")
  writer.expect("^gap", 30)
  deadline = time.monotonic() + 200
  while persistence(m)["rdb_bgsave_in_progress"] != "0" and time.monotonic() < deadline:
    time.sleep(1)
  ended = persistence(m)["rdb_last_bgsave_status"]
  m.check(ended == "ok", f"the save has ended well ({ended})")
  checked = m.ssh("redis-check-rdb /var/lib/redis/dump.rdb", check=False, timeout=60)
  m.check(checked.rc == 0 and "RDB looks OK" in checked.out, "what it has saved is whole"
          + ("" if checked.rc == 0 else f": {checked.out.strip()[-300:]}"))
  wrote = writer.finish()
  lost = m.ask("redis_numbered_writer.py", "verify", writer.out)
  m.check(wrote["connection"] == "open" and lost["lost"] == 0, f"of {wrote['acked']} acknowledged writes {lost['lost']} are lost ({wrote['connection']})")
  seen = subscriber.finish()
  m.check(seen["connection"] == "open" and seen["heard"] == seen["published"] > 0 and seen["out_of_order"] == 0,
          f"the subscriber has heard everything in its order: {seen}")
  m.check(seen["longest_gap_s"] > 1, f"it went through the upgrade: a silence of {seen['longest_gap_s']} s")
  after = m.ask("redis_data.py", "digest", "--keys", keys)
  m.check(after["digest"] == before["digest"], f"the {keys} keys are what they were")
  state = m.ssh(f"systemctl show -p ActiveState -p MainPID {UNIT}").out.split()
  m.check(f"MainPID={main}" in state and "ActiveState=active" in state, f"{UNIT} is the carried redis ({state})")


def persistence(m):
  text = m.ssh("redis-cli info persistence").out
  return dict(line.split(":", 1) for line in text.split() if line.startswith("rdb_") and ":" in line)
