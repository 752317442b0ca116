"""Debian's archive, through an apt of our own: private state, the machine's mirror, signatures verified by apt."""

import os
import pathlib
import re
import time

from . import place

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MAX_AGE = 7 * 24 * 3600       # an index older than this is asked for again before something new is resolved


def mirror():
  return place.run([place.REPO / "scripts/debian-mirror"]).strip()


def security_mirror():
  """The security archive of this machine's apt; what it is called differs from mirror to mirror."""
  text = place.run(["apt-get", "indextargets", "--format", "$(CREATED_BY) $(REPO_URI) $(RELEASE)"])
  for line in text.splitlines():
    created, uri, release = (line.split() + ["", ""])[:3]
    if created == "Packages" and release.endswith("-security"):
      return uri.rstrip("/")
  return None


def sources(*suites):
  """One-line apt sources for these suites."""
  lines, main, security = [], mirror(), security_mirror()
  for suite in suites:
    uri = security if suite.endswith("-security") else main
    if uri:
      lines.append(f"deb [arch=amd64 signed-by={KEYRING}] {uri} {suite} main")
  return lines


class Apt:
  """The archive as apt sees it with our sources: what is there, and how to get it."""

  SUITES = ("bookworm", "bookworm-security", "trixie", "trixie-updates", "trixie-security", "trixie-backports")

  def __init__(self):
    self.root = place.CACHE / "apt"
    for directory in ("state/lists/partial", "cache/archives/partial", "etc"):
      (self.root / directory).mkdir(parents=True, exist_ok=True)

  def _options(self):
    r = self.root
    pairs = {"Dir::State": r / "state", "Dir::State::status": "/dev/null", "Dir::Cache": r / "cache",
             "Dir::Etc::sourcelist": r / "etc/sources.list", "Dir::Etc::sourceparts": "/dev/null",
             "Dir::Etc::preferencesparts": "/dev/null", "Dir::Etc::preferences": "/dev/null",
             "Acquire::Languages": "none", "APT::Sandbox::User": "root", "APT::Architecture": "amd64"}
    return [f"-o{k}={v}" for k, v in pairs.items()]

  def update(self, max_age=MAX_AGE):
    stamp, listing = self.root / "updated", self.root / "etc/sources.list"
    if stamp.exists() and time.time() - stamp.stat().st_mtime < max_age:
      return
    with place.progress("reading Debian's package indices"):
      listing.write_text("\n".join(sources(*self.SUITES)) + "\n")
      place.run(["apt-get", *self._options(), "-q", "--error-on=any", "update"])
      stamp.touch()

  def names(self, prefix):
    return place.run(["apt-cache", *self._options(), "pkgnames", prefix]).split()

  def show(self, package):
    """The newest version's fields, as a dict; empty for a package that is only spoken of."""
    try:
      text = place.run(["apt-cache", *self._options(), "--no-all-versions", "show", package])
    except place.LabError:
      return {}
    return dict(re.findall(r"^(\S+): (.*)$", text.split("\n\n")[0], re.M))

  def download(self, packages, directory):
    """Fetches .deb files (apt compares their hashes with the signed indices); returns their paths."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    place.run(["apt-get", *self._options(), "-q", "download", *packages], cwd=directory)
    return sorted(directory.glob("*.deb"))


def unpack(deb, directory):
  os.makedirs(directory, exist_ok=True)
  place.run(["dpkg-deb", "-x", deb, directory])
