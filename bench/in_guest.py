"""What bench/engine runs in the guest, as root: trees are made, snapshotted and restored by both engines, in turns.

  python3 in_guest.py DIRECTORY ROUNDS [ONLY]

DIRECTORY, on a tmpfs, holds bench_native_engine and bench_subject. Prints JSON objects, one a line: {"say": ...} on the way, and
{"ratios": ..., "linear": ...} at the end; all times are seconds.
"""

import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

DIRECTORY = pathlib.Path(sys.argv[1])
ROUNDS = int(sys.argv[2])
ONLY = re.compile(sys.argv[3] if len(sys.argv) > 3 else "")
NATIVE, SUBJECT = DIRECTORY / "bench_native_engine", DIRECTORY / "bench_subject"
NUMBERS = (10, 100, 1000, 10000)
PORT = "9000"


def say(text):
  print(json.dumps({"say": text}), flush=True)


def run(*argv, **more):
  done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **more)
  if done.returncode != 0:
    raise RuntimeError(f"{' '.join(map(str, argv))[:200]}: {(done.stderr or done.stdout).strip()[-1500:]}")
  return done.stdout


def until(condition, what, seconds=300):
  end = time.monotonic() + seconds
  while not condition():
    if time.monotonic() > end:
      raise RuntimeError(f"{what}: not after {seconds} s")
    time.sleep(0.02)


def children(pid):
  found = []
  for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
    for child in map(int, task.read_text().split()):
      found += [child, *children(child)]
  return found


def end_tree(root):
  pids = [root, *children(root)] if os.path.exists(f"/proc/{root}") else []
  for pid in pids:
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)
  until_gone(pids)


def until_gone(pids):
  """Nothing of them is left, zombies neither: the PIDs are free."""
  for pid in pids:
    until(lambda: not os.path.exists(f"/proc/{pid}"), f"the end of {pid}", 120)


# --- trees -----------------------------------------------------------------------------------------------------------------------


def subject(kind, number):
  """One of bench_subject's."""
  ready = DIRECTORY / "ready"
  ready.unlink(missing_ok=True)
  run(SUBJECT, kind, number, ready)
  until(ready.exists, f"{number} {kind}")
  return int(ready.read_text())


def daemon(command):
  """A tree of its own below PID 1, with a session of its own; its root, a shell, comes from a fork that nobody waits for."""
  pid_file = DIRECTORY / "daemon.pid"
  pid_file.unlink(missing_ok=True)
  script = f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; {command}"
  subprocess.run(["setsid", "-f", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                 cwd="/", check=True)
  until(pid_file.exists, "a daemon")
  return int(pid_file.read_text())


def redis():
  path = DIRECTORY / "redis.sock"
  path.unlink(missing_ok=True)
  root = daemon(f"exec redis-server --save '' --appendonly no --enable-debug-command yes --port 0 --unixsocket {path} --dir /var/tmp")
  until(path.exists, "redis")
  run("redis-cli", "-s", path, "debug", "populate", "1000000", "key", "950", timeout=600)
  used = int(re.search(r"used_memory:(\d+)", run("redis-cli", "-s", path, "info", "memory"))[1])
  assert used > 1 << 30, used
  return root


# 200 connections that have a transaction open, held by a process that is part of the tree.
HOLDER = """
import socket, struct, sys, time
def connect():
  s = socket.socket(socket.AF_UNIX)
  s.connect(sys.argv[1])
  words = b"user\\0postgres\\0database\\0postgres\\0\\0"
  s.sendall(struct.pack(">ii", len(words) + 8, 196608) + words)
  said = b""
  while not said.endswith(b"Z\\0\\0\\0\\5I"): said += s.recv(4096) or sys.exit("refused")
  for query in (b"begin\\0", b"select count(*) from pg_class\\0"):
    s.sendall(b"Q" + struct.pack(">i", len(query) + 4) + query)
    said = b""
    while said[-6:-1] != b"Z\\0\\0\\0\\5": said += s.recv(65536)
  return s
held = [connect() for _ in range(200)]
open(sys.argv[2], "w").close()
while True: time.sleep(3600)
"""


def postgres():
  data, ready, sockets = pathlib.Path("/var/tmp/bench-postgres"), DIRECTORY / "postgres-ready", pathlib.Path("/var/tmp/bench-sockets")
  binaries = next(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
  ready.unlink(missing_ok=True)
  if not data.exists():
    for directory in (data, sockets):
      directory.mkdir()
      shutil.chown(directory, "postgres")
    run("runuser", "-u", "postgres", "--", binaries / "initdb", "-A", "trust", "-N", "-D", data)
    (DIRECTORY / "holder.py").write_text(HOLDER)
  (data / "postmaster.pid").unlink(missing_ok=True)
  root = daemon(f"setpriv --reuid postgres --regid postgres --clear-groups {binaries}/postgres -D {data} "
                f"-k {sockets} -c listen_addresses= -c max_connections=250 & until [ -S {sockets}/.s.PGSQL.5432 ]; do sleep 0.1; done; "
                f"sleep 1; python3 {DIRECTORY}/holder.py {sockets}/.s.PGSQL.5432 {ready}")
  until(ready.exists, "200 backends", 600)
  assert len(children(root)) > 200
  return root


TREES = {"redis": redis, "postgres": postgres, "threads": lambda: subject("threads", 1000)}

# --- engines ---------------------------------------------------------------------------------------------------------------------


def native_snapshot(root, manifest):
  """From the start of the program to its end; its parts by its own clock, "total" among them."""
  begin = time.monotonic()
  parts = json.loads(run(NATIVE, "snapshot", root, manifest))
  return time.monotonic() - begin, in_seconds(parts)


def in_seconds(parts):
  return {name: nanoseconds / 1e9 for name, nanoseconds in parts.items()}


def in_words(parts):
  return ", ".join(f"{name} {seconds:.3f}" for name, seconds in parts.items() if name != "total")


def native_restore(manifest):
  """Until the tasks are there and have been compared; ending them is not measured."""
  begin = time.monotonic()
  process = subprocess.Popen([NATIVE, "restore", manifest], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
  line = process.stdout.readline()
  taken = time.monotonic() - begin
  _, said = process.communicate()
  if process.returncode != 0:
    raise RuntimeError(f"native restore: {said.strip()}")
  return taken, in_seconds(json.loads(line))


# System V memory criu carries only as that of an IPC namespace, which the tasks' own is when criu is in another one.
CRIU = ["unshare", "--ipc", "criu", "--no-default-config"]
COMMON = ["-v1", "-o", "log", "--manage-cgroups=ignore", "--file-locks", "--link-remap", "--ext-unix-sk"]


def criu_dump_lazily(root):
  """Until criu says that everything but the pages is written, and that it serves those. The tree goes on."""
  images = DIRECTORY / "lazy"
  shutil.rmtree(images, ignore_errors=True)
  images.mkdir()
  reading, writing = os.pipe()
  begin = time.monotonic()
  process = subprocess.Popen([*CRIU, "dump", "-t", str(root), "-D", images, *COMMON, "--lazy-pages", "--address", "127.0.0.1", "--port", PORT,
                              "--status-fd", str(writing)], pass_fds=[writing], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  os.close(writing)
  said = os.read(reading, 1)
  taken = time.monotonic() - begin
  os.close(reading)
  if not said:
    raise RuntimeError(f"criu dump: {log_of(images, process)}")
  process.kill()
  process.wait()
  return taken


def log_of(images, process=None):
  said = process.communicate()[0].decode(errors="replace") if process else ""
  log = images / "log"
  return (said + (log.read_text(errors="replace") if log.exists() else "")).strip()[-1500:]


def criu_dump(root):
  """With pages, for restoring; the tree is ended."""
  images = DIRECTORY / "images"
  shutil.rmtree(images, ignore_errors=True)
  images.mkdir()
  done = subprocess.run([*CRIU, "dump", "-t", str(root), "-D", images, *COMMON], capture_output=True, text=True)
  if done.returncode != 0:
    raise RuntimeError(f"criu dump: {log_of(images)}")
  until(lambda: not os.path.exists(f"/proc/{root}"), "the end of what was dumped")
  return images


def criu_restore(images):
  """Until the tasks run, their pages to come when they are touched."""
  work = DIRECTORY / "work"
  shutil.rmtree(work, ignore_errors=True)
  work.mkdir()
  server = subprocess.Popen([*CRIU, "lazy-pages", "-D", images, "-W", work, "-v1", "-o", "lazy-log"], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
  until((work / "lazy-pages.socket").exists, "criu's server of pages", 60)
  begin = time.monotonic()
  done = subprocess.run([*CRIU, "restore", "-D", images, "-W", work, *COMMON, "--lazy-pages", "--restore-detached", "--pidfile", work / "pid"],
                        capture_output=True, text=True)
  taken = time.monotonic() - begin
  try:
    if done.returncode != 0:
      raise RuntimeError(f"criu restore: {done.stderr.strip()} {log_of(work)}")
    root = int((work / "pid").read_text())
    end_tree(root)
  finally:
    server.kill()
    server.wait()
  return taken


# --- measuring -------------------------------------------------------------------------------------------------------------------


def find_out_how_criu_works_here():
  """It looks for the end of its code with a hardware breakpoint, and not every processor of QEMU's has one: then its own switch."""
  root = subject("tasks", 1)
  try:
    criu_dump_lazily(root)
  except RuntimeError:
    os.environ["CRIU_FAULT"] = "130"   # FI_NO_BREAKPOINTS
    criu_dump_lazily(root)
  end_tree(root)


def ratios(name, make):
  """Medians of both engines' times, one after the other on the same tree. The first of each does not count: code that has not run yet is
  slow, in an emulator more than anywhere."""
  say(f"{name}: making the tree")
  root = make()
  manifest = DIRECTORY / "manifest"
  times = {"native": {"snapshot": [], "restore": []}, "criu": {"snapshot": [], "restore": []}}
  for i in range(ROUNDS + 1):
    taken, parts = native_snapshot(root, manifest)
    times["native"]["snapshot"].append(taken)
    times["criu"]["snapshot"].append(criu_dump_lazily(root))
    say(f"{name}: snapshot {i} of {ROUNDS}: native {taken:.3f} s ({in_words(parts)}), criu {times['criu']['snapshot'][-1]:.3f} s")
  pids = [root, *children(root)]
  images = criu_dump(root)
  for i in range(ROUNDS + 1):
    until_gone(pids)
    taken, parts = native_restore(manifest)
    until_gone(pids)
    times["native"]["restore"].append(taken)
    times["criu"]["restore"].append(criu_restore(images))
    say(f"{name}: restore {i} of {ROUNDS}: native {taken:.3f} s ({in_words(parts)}), criu {times['criu']['restore'][-1]:.3f} s")
  shutil.rmtree(images)
  return {engine: {what: statistics.median(all_[1:]) for what, all_ in both.items()} for engine, both in times.items()}


def linear(kind):
  """{number: {"snapshot": s, "restore": s}} of this project's engine."""
  found = {}
  manifest = DIRECTORY / "manifest"
  for number in NUMBERS:
    root = subject(kind, number)
    rounds = ROUNDS + 2 if number <= 100 else ROUNDS if number <= 1000 else 1
    snapshots = [native_snapshot(root, manifest)[1]["total"] for _ in range(rounds)]
    end_tree(root)
    restores = [native_restore(manifest)[1]["total"] for _ in range(rounds)]
    found[number] = {"snapshot": statistics.median(snapshots), "restore": statistics.median(restores)}
    say(f"{number} {kind}: snapshot {found[number]['snapshot']:.3f} s, restore {found[number]['restore']:.3f} s")
  return found


def main():
  hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
  resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
  find_out_how_criu_works_here()
  result = {"ratios": {name: ratios(name, make) for name, make in TREES.items() if ONLY.search(name)},
            "linear": {kind: linear(kind) for kind in ("tasks", "fds", "vmas") if ONLY.search(f"linear_{kind}")}}
  print(json.dumps(result), flush=True)


main()
