"""In the guest, for the scenario `kinds`: native tests side by side, each a session of its own that waits to be carried.

  start DIRECTORY   standard input: a JSON list of tests; each is begun in DIRECTORY/NUMBER, as many at a time as there are
                    processors, until it is ready to be carried or has ended
  owners DIRECTORY  standard input: a JSON list of PIDs; which test each belongs to, null for none
  end DIRECTORY     standard input: a JSON list of tests, which are ended
  go_on DIRECTORY   tells those that wait to go on, and waits for their end

Each prints a JSON object or list. DIRECTORY/tests is the program.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

READY_WITHIN, END_WITHIN = 60, 300   # seconds
CROWD = 100


def begin(directory, number, name):
  """The process of a test, which belongs to whoever begins it until that one ends, and to nobody then."""
  own = directory / str(number)
  own.mkdir(parents=True)
  (own / "name").write_text(name)
  environment = {**os.environ, "UPKEEP_TEST_CARRIED_BY": str(own), "UPKEEP_TEST_CROWD": str(CROWD)}
  with open(own / "said", "wb") as said:
    return subprocess.Popen([directory / "tests", f"--gtest_filter={name}", f"--gtest_output=json:{own}/result.json"], cwd=own,
                            env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)


def kill_trees(pids):
  """Processes and all that came from them."""
  children = {}
  for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and (parent := parent_of(entry.name)):
      children.setdefault(parent, []).append(int(entry.name))
  todo = list(pids)
  while todo:
    one = todo.pop()
    todo += children.get(one, [])
    try:
      os.kill(one, signal.SIGKILL)
    except ProcessLookupError:
      pass


def parent_of(pid):
  try:
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
  except OSError:
    return 0


def start(directory):
  todo = list(enumerate(json.load(sys.stdin)))
  running, late = [], []
  while todo or running:
    while todo and len(running) < os.cpu_count():
      number, name = todo.pop(0)
      running.append((number, name, begin(directory, number, name), time.monotonic() + READY_WITHIN))
    for one in list(running):
      number, name, process, deadline = one
      if process.poll() is not None or (directory / str(number) / "ready").exists():
        running.remove(one)
      elif time.monotonic() > deadline:
        running.remove(one)
        late.append(name)
        kill_trees([process.pid])
    time.sleep(0.02)
  return {"late": late, "waiting": {name: pid for name, (pid, _) in waiting(directory).items()}, "ended": results(directory)}


def tests(directory):
  return [path.parent for path in sorted(directory.glob("*/name"), key=lambda p: int(p.parent.name))]


def waiting(directory):
  """{name: (PID, "alone" or "beside")} of those that are ready and there."""
  found = {}
  for own in tests(directory):
    ready = own / "ready"
    if ready.exists():
      pid, how = ready.read_text().split()
      if parent_of(pid) and not (own / "result.json").exists():
        found[(own / "name").read_text()] = (int(pid), how)
  return found


def results(directory):
  """{name: {"result": "held", "skipped" or "failed", "why"}} of those that have ended."""
  found = {}
  for own in tests(directory):
    name = (own / "name").read_text()
    try:
      suite = json.loads((own / "result.json").read_text())["testsuites"][0]["testsuite"][0]
    except (OSError, ValueError, LookupError):
      continue
    failures = [f["failure"] for f in suite.get("failures", ())]
    if failures:
      found[name] = {"result": "failed", "why": "\n".join(failures)[:2000]}
    elif suite["result"] == "SKIPPED":
      found[name] = {"result": "skipped", "why": skip_message(own)}
    else:
      found[name] = {"result": "held", "why": ""}
  return found


def skip_message(own):
  """gtest's JSON does not have it."""
  lines = (own / "said").read_text(errors="replace").splitlines()
  at = next((i for i, line in enumerate(lines) if line.endswith(": Skipped")), None)
  return lines[at + 1].strip() if at is not None and at + 1 < len(lines) else ""


def owners(directory):
  roots = {pid: name for name, (pid, _) in waiting(directory).items()}
  found = {}
  for pid in json.load(sys.stdin):
    at = pid
    while at > 1 and at not in roots:
      at = parent_of(at)
    found[pid] = roots.get(at)
  return found


def end(directory):
  there = waiting(directory)
  kill_trees(there[name][0] for name in json.load(sys.stdin) if name in there)
  return {}


def go_on(directory):
  there = waiting(directory)
  beside = [name for name, (_, how) in there.items() if how == "beside"]
  alone = [name for name, (_, how) in there.items() if how == "alone"]
  late = go_on_with(there, beside, 2 * os.cpu_count()) + go_on_with(there, alone, 1)
  return {"late": late, "ended": results(directory)}


def go_on_with(there, names, most):
  todo, running, late = list(names), [], []
  while todo or running:
    while todo and len(running) < most:
      name = todo.pop(0)
      os.kill(there[name][0], signal.SIGUSR1)
      running.append((name, os.pidfd_open(there[name][0]), time.monotonic() + END_WITHIN))
    for one in list(running):
      name, pidfd, deadline = one
      ended = not alive(pidfd)
      if not ended and time.monotonic() > deadline:
        late.append(name)
        kill_trees([there[name][0]])
        ended = True
      if ended:
        os.close(pidfd)
        running.remove(one)
    time.sleep(0.02)
  return late


def alive(pidfd):
  try:
    signal.pidfd_send_signal(pidfd, 0)
    return True
  except ProcessLookupError:
    return False


def main():
  if os.uname().nodename != "upkeep-guest":   # networks are closed here, and processes ended
    sys.exit("only in a guest of the lab")
  word, directory = sys.argv[1], pathlib.Path(sys.argv[2])
  print(json.dumps({"start": start, "owners": owners, "end": end, "go_on": go_on}[word](directory)))


main()
