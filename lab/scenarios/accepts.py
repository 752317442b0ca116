"""What `upkeep check` accepts of Debian's services, as their units run them, survives a dry run and an upgrade; what it refuses it names.

All that is accepted together in a dry run, which stops it, snapshots it and lets it go, and then through the jump; with --set alone=yes
each has a dry run of its own first.
"""

import json
import re

from labkit import place, upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
TAGS = {"check"}
TIMEOUT = 700
NEEDS_DEB = True
SETTINGS = {"alone": "no"}
FETCH = "import sys, urllib.request as u; sys.exit(u.urlopen(sys.argv[1], timeout=5).status != 200)"
RESP = ("import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5); s.sendall(sys.argv[2].encode() + b'\\r\\n'); "
        "sys.exit(sys.argv[3].encode() not in s.recv(4096))")
COUNTS = "a=$(stat -c %s /var/tmp/count); sleep 1; b=$(stat -c %s /var/tmp/count); echo $a, $b; test $b -gt $a"
# Programs as somebody starts them by hand: name, how, which process it is, how to tell that it serves.
PLAIN = (
    ("python3 http.server", "cd /var/www/html && setsid -f python3 -m http.server 8000 </dev/null >/dev/null 2>&1; "
     "until ss -Hltn 'sport = :8000' | grep -q .; do sleep 0.05; done",
     "pgrep -f '^python3 -m http.server 8000'", f'python3 -c "{FETCH}" http://127.0.0.1:8000/'),
    ("a shell loop", "printf 'i=0\\nwhile :; do i=$((i+1)); echo $i >>/var/tmp/count; sleep 0.1; done\\n' >/root/loop.sh; "
     "setsid -f sh /root/loop.sh </dev/null >/dev/null 2>&1", "pgrep -f '^sh /root/loop.sh'", COUNTS),
    # As the README tells people to, but for the ports.
    ("redis-server by hand", "setsid -f runuser -u redis -- redis-server /etc/redis/redis.conf --supervised no --daemonize yes --port 6380 "
     "--pidfile /run/redis/by-hand.pid </dev/null >/dev/null 2>&1; until ss -Hltn 'sport = :6380' | grep -q .; do sleep 0.05; done",
     "pgrep -f 'redis-server .*:6380'", f'python3 -c "{RESP}" 6380 PING PONG'),
    ("memcached by hand", "memcached -d -u memcache -m 64 -l 127.0.0.1 -p 11212", "pgrep -f 'memcached .*11212'",
     f'python3 -c "{RESP}" 11212 version VERSION'),
    # With a PID, and those after it, that a kernel takes only when its limit has been raised (pid_max): as after months.
    ("sleep", "echo 1234567 > /proc/sys/kernel/ns_last_pid; setsid -f sleep 100000 </dev/null >/dev/null 2>&1", "pgrep -f '^sleep 100000'",
     None),
    ("sleep on somebody else's pipe", "setsid -f sh -c 'sleep 99999 | cat >/dev/null' </dev/null >/dev/null 2>&1",
     "pgrep -f '^sleep 99999'", None),
    ("sleep that Landlock restricts", "setsid -f setpriv --landlock-access fs:make-sym sleep 99998 </dev/null >/dev/null 2>&1",
     "pgrep -f '^sleep 99998'", None),
)
CARRIED = ("nginx.service", "postgresql@17-main.service", "redis-server by hand", "memcached by hand", "python3 http.server", "a shell loop",
           "sleep", "redis-server.service", "memcached.service")
# Those that answer; of the others it is enough that the same process is there and not stopped.
SERVES = {
    "nginx.service": f'python3 -c "{FETCH}" http://127.0.0.1/',
    "redis-server.service": f'python3 -c "{RESP}" 6379 PING PONG',
    "memcached.service": f'python3 -c "{RESP}" 11211 version VERSION',
    "postgresql@": "runuser -u postgres -- psql -tAc 'select 40 + 2' | grep -qx 42",
}


# Not below sshd, which is among those that are looked at: nobody stops himself.
OUTSIDE = "systemd-run --quiet --pipe --wait --collect "


def run(m):
  m.ssh("systemctl start redis-server memcached nginx postgresql", timeout=120)
  for _, start, _, _ in PLAIN:
    m.ssh(start)
  subjects = services(m) + [(name, find, serves) for name, _, find, serves in PLAIN]
  accepted, refused = [], []
  reasons = {}
  for name, find, serves in subjects:
    reasons[name] = look(m, name, pid_of(m, find))
    (refused if reasons[name] else accepted).append((name, find, serves))
  names = [name for name, _, _ in accepted]
  m.fact("accepted", names)
  m.fact("refused", {name: reasons[name] for name, _, _ in refused})
  # By name: a check that refused everything would be right in each of its refusals.
  for name in CARRIED:
    m.check(name in names, f"{name} can be carried")
  m.check(refused, "and some cannot")
  m.check(any("Landlock" in why or "restricted itself" in why for why in reasons["sleep that Landlock restricts"]),
          "and what nobody can make again is refused")
  from_inside(m)
  for subjects in ([[subject] for subject in accepted] if m.settings["alone"] == "yes" else [accepted]):
    dry_run(m, subjects)
  through_the_jump(m, accepted)


def services(m):
  """(unit, how to find its main process, how to tell that it serves) of all units that run; getty's and sessions are logins."""
  out = m.ssh("systemctl list-units --type=service --state=running --no-legend --plain | cut -d' ' -f1").out.split()
  units = [unit for unit in out if not unit.startswith(("serial-getty@", "getty@", "user@"))]
  m.check(len(units) >= 8, f"{len(units)} units run: {' '.join(units)}")
  return [(unit, f"systemctl show -p MainPID --value {unit}", next((how for start, how in SERVES.items() if unit.startswith(start)), None))
          for unit in units]


def pid_of(m, find):
  return int(m.ssh(find).out.split()[0])


def look(m, name, pid):
  """Why `upkeep check` refuses it; nothing where it accepts it. A refusal must name one of its tasks and say what to do."""
  check = f"{OUTSIDE}upkeep check --to {m.to_release} --carry {pid}"
  done = m.ssh(f"{check} --json", check=False, timeout=120)
  report = json.loads(done.out)
  m.check((done.rc == 0) == report["possible"] and done.rc in (0, 1), f"{name}: exit code {done.rc}, possible: {report['possible']}")
  if report["possible"]:
    return []
  tree = m.ssh("tasks() { echo \"$1 ($(cat /proc/$1/comm))\"; for c in $(pgrep -P $1); do tasks $c; done; }; " + f"tasks {pid}", check=False)
  refusals = [f for f in report["findings"] if f["severity"] == "refused"]
  named = [f for f in refusals if f["what"].startswith(tuple(tree.out.splitlines()))]
  # Of sshd's tree our own sessions are a part: tasks that have ended since then.
  m.check(named and all(re.match(r"\d+ \(", f["what"]) for f in refusals),
          f"{name}: refused by name: " + "; ".join(f"{f['what']}: {f['why']}" for f in refusals[:2]))
  m.check(all(f["remedy"] for f in refusals), f"{name}: with a remedy: " + "; ".join({f["remedy"]: 1 for f in refusals}))
  text = m.ssh(check, check=False, timeout=120).out
  # Numbers apart: each look is a connection of systemd-run's to D-Bus.
  same = lambda said: re.sub(r"[0-9a-f]*\d[0-9a-f]*", "N", said)
  m.check(all(same(f["what"]) in same(text) and f["remedy"] in text for f in named), f"{name}: people are told the same")
  return sorted({re.sub(r"\d+ \((.*?)\)", r"\1", f["why"]) for f in refusals})


def from_inside(m):
  done = m.ssh(f"upkeep check --carry {pid_of(m, 'systemctl show -p MainPID --value ssh.service')}", check=False)
  m.check(done.rc == 1 and "outside that tree" in done.out, "whoever would have to stop himself is told")


def dry_run(m, subjects):
  """They are stopped, snapshotted and let go again, as what they were. `subjects` as in run()."""
  pids = [pid_of(m, find) for _, find, _ in subjects]   # units that are not carried were stopped and started by a dry run before
  starts = [start_time(m, pid) for pid in pids]
  names = ", ".join(name for name, _, _ in subjects)
  with place.progress(f"a dry run with {names}"):
    done = m.ssh(f"{OUTSIDE}upkeep upgrade --to {m.to_release} --carry {' '.join(map(str, pids))} --yes --dry-run",
                 check=False, timeout=150)
    status = json.loads(m.ssh("upkeep status --wait --json", check=False, timeout=150).out)
  outcome = status["upgrade"]["outcome"]
  m.check(done.rc == 0 and outcome == "dry_run", f"{names}: accepted, and the dry run ends as {outcome}"
          + ("" if done.rc == 0 and outcome == "dry_run" else f": {(done.err or done.out).strip()[-400:]}"))
  for (name, _, serves), pid, start in zip(subjects, pids, starts):
    runs_on(m, name, pid, serves)
    now = start_time(m, pid)
    m.check(now == start != "", f"{name}: it is the process that it was (started at {start}, {now})")


def start_time(m, pid):
  return m.ssh(f"cut -d' ' -f22 /proc/{pid}/stat", check=False).out.strip()


def through_the_jump(m, accepted):
  # Nobody's, as those are that a program has made and not used yet.
  m.ssh("ipcmk -S 3 -p 0640 && ipcmk -Q -p 0600")
  objects = m.ssh("ipcs -s -q").out
  pids = [pid_of(m, find) for _, find, _ in accepted]
  comms = [m.ssh(f"cat /proc/{pid}/comm").out for pid in pids]
  with upgrades.Journey(m) as journey:
    journey.upgrade(pids)
  s = journey.summary
  m.check(s["outcome"] == "upgraded" and m.uname() == m.to_release, f"all of them together: {s['outcome']} {s.get('message', '')}")
  m.check(m.wait_systemd() == "running", f"systemd is content ({m.failed_units()})")
  # Which sysctls are missing only the new kernel knows.
  late = [w["text"] for w in s["warnings"] if w["stage"] != "check" and not w["text"].startswith("sysctls that this kernel does not have: ")]
  m.check(m.ssh("ipcs -s -q").out == objects, f"System V semaphores and message queues are there: {' '.join(objects.split())}")
  m.check(not late, f"without a warning that check had not given ({late})")
  for (name, find, serves), pid, comm in zip(accepted, pids, comms):
    m.check(m.ssh(f"cat /proc/{pid}/comm", check=False).out == comm and pid_of(m, find) == pid, f"{name}: still process {pid}")
    runs_on(m, name, pid, serves)


def runs_on(m, name, pid, serves):
  state = m.ssh(f"cut -d' ' -f3 /proc/{pid}/stat", check=False).out.strip()
  m.check(state in ("S", "R", "D"), f"{name}: it runs ({state or 'gone'})")
  if serves:
    answer = m.ssh(serves, check=False, timeout=30)
    said = (answer.out + answer.err).strip()[-200:]
    m.check(answer.rc == 0, f"{name}: it serves" + (f" ({said})" if answer.rc != 0 else ""))
