"""Where the lab keeps its things, how it builds them once, and how it says what it is doing."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

LAB = pathlib.Path(__file__).resolve().parent.parent
REPO = LAB.parent
CACHE = pathlib.Path(os.environ.get("UPKEEP_CACHE", "/var/cache/upkeep"))
SHORT_NAMES = ("6.1", "6.12", "6.18", "7.3")


class LabError(Exception):
  """Something that a person can do something about; shown without a traceback."""


def say(text):
  print(f"lab: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(text):
  """Says what is being done, and how long it took."""
  say(f"{text} ...")
  start = time.monotonic()
  yield
  say(f"{text}: {time.monotonic() - start:.1f} s")


def run(argv, **options):
  """Runs a program to its end; its last words become the error."""
  argv = [str(a) for a in argv]
  done = subprocess.run(argv, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                        **options)
  if done.returncode != 0:
    tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
    raise LabError(f"{argv[0]} failed ({done.returncode}): {' '.join(argv[:8])}\n{tail}")
  return done.stdout


def digest(*parts):
  """A short hash of texts, bytes and files' contents (paths)."""
  h = hashlib.sha256()
  for part in parts:
    if isinstance(part, pathlib.Path):
      part = part.read_bytes()
    elif not isinstance(part, bytes):
      part = str(part).encode()
    h.update(len(part).to_bytes(8, "little") + part)
  return h.hexdigest()[:16]


_held = set()


@contextlib.contextmanager
def lock(name, waiting):
  """Machine-wide; says so when it has to wait. Released by the kernel however we end. May be taken again inside."""
  if name in _held:
    yield
    return
  CACHE.mkdir(parents=True, exist_ok=True)
  fd = os.open(CACHE / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
  try:
    try:
      fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      say(waiting)
      fcntl.flock(fd, fcntl.LOCK_EX)
    _held.add(name)
    yield
  finally:
    _held.discard(name)
    os.close(fd)


def build(path, make, what):
  """Returns `path`, made by make(temporary path) if it is not there. Only a finished thing gets the name."""
  path = pathlib.Path(path)
  if path.exists():
    with contextlib.suppress(OSError):
      os.utime(path)
    return path
  path.parent.mkdir(parents=True, exist_ok=True)
  with lock("build.lock", f"waiting for another build before {what}"):
    if path.exists():
      return path
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=".tmp-", dir=path.parent))
    try:
      with progress(what):
        made = scratch / "made"
        make(made)
        os.rename(made, path)
    finally:
      remove_tree(scratch)
  return path


def remove_tree(path):
  shutil.rmtree(path, ignore_errors=True)


def prune(directory, keep, spare=()):
  """Leaves the `keep` most recently used entries of a cache directory (and those in `spare`)."""
  entries = [p for p in directory.iterdir() if not p.name.startswith(".")] if directory.is_dir() else []
  entries.sort(key=lambda p: p.stat().st_mtime, reverse=True)
  for old in entries[keep:]:
    if old not in spare:
      remove_tree(old) if old.is_dir() else old.unlink(missing_ok=True)
