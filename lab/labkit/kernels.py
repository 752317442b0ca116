"""Stock Debian kernels: short names to releases, releases to unpacked files.

A kernel in the cache is a directory in the layout of a root file system:
  boot/vmlinuz-REL  boot/config-REL  usr/lib/modules/REL/...   (with modules.dep)
"""

import dataclasses
import functools
import json
import pathlib
import re
import shutil

from . import debian, place

FLAVOUR = "-cloud-amd64"
FORMAT = 1                     # raise when the layout of an unpacked kernel changes


@dataclasses.dataclass(frozen=True)
class Kernel:
  release: str                 # what uname -r says
  root: pathlib.Path

  @property
  def image(self):
    return self.root / "boot" / f"vmlinuz-{self.release}"

  @property
  def config(self):
    return self.root / "boot" / f"config-{self.release}"

  @property
  def modules(self):
    return self.root / "usr/lib/modules" / self.release


def version_key(release):
  return [int(n) for n in re.findall(r"\d+", release.removesuffix(FLAVOUR))]


def pick(name, releases):
  """The newest release of a series ("6.12"), or the one of exactly that name (with or without the flavour)."""
  exact = [r for r in releases if r in (name, name + FLAVOUR)]
  series = [r for r in releases if r.startswith(name + ".")]
  found = exact or series
  if not found:
    raise place.LabError(f"no Debian {FLAVOUR[1:]} kernel is called {name}; series there are: "
                         + " ".join(sorted({'.'.join(r.split('.')[:2]) for r in releases}, key=version_key)))
  return max(found, key=version_key)


@functools.lru_cache(maxsize=None)
def resolve(name):
  """Short or exact name -> release. Answers are remembered with the package index, not longer."""
  if re.fullmatch(r"\d+\.\d+\.\d.*" + FLAVOUR, name) and _directory(name).exists():
    return name
  apt = debian.Apt()
  apt.update()
  memory = place.CACHE / "apt" / f"kernels-{int((place.CACHE / 'apt/updated').stat().st_mtime)}.json"
  if not memory.exists():
    packages = apt.names("linux-image-")
    releases = [m[1] for p in packages if (m := re.fullmatch(r"linux-image-(\d+\.\d+\.\d.*" + FLAVOUR + ")", p))]
    memory.write_text(json.dumps(releases))
    for old in memory.parent.glob("kernels-*.json"):
      if old != memory:
        old.unlink()
  return pick(name, json.loads(memory.read_text()))


def cached(names):
  """The releases that these names stand for, of those that are unpacked already."""
  return [r for r in map(resolve, names) if _directory(r).exists()]


def get(name):
  """The kernel of this name, downloaded and unpacked if need be."""
  release = resolve(name)
  return Kernel(release, place.build(_directory(release), lambda made: _unpack(release, made),
                                     f"fetching kernel {release}"))


def _directory(release):
  return place.CACHE / "kernels" / f"{release}.{FORMAT}"


def _unpack(release, made):
  apt = debian.Apt()
  apt.update()
  scratch = made.parent / "debs"
  wanted, seen = [f"linux-image-{release}"], set()
  while wanted:                # since 6.19 the image package only depends on the ones that hold the files
    package = wanted.pop()
    if "Filename" in (fields := apt.show(package)):
      seen.add(package)
      depends = re.findall(r"linux-(?:binary|modules|base)-[^\s,]+", fields.get("Depends", ""))
      wanted += [d for d in depends if d.endswith(release) and d not in seen]
  tree = made.parent / "tree"
  for deb in apt.download(sorted(seen), scratch):
    debian.unpack(deb, tree)
  _normalise(release, tree, made)
  if not (made / "boot" / f"vmlinuz-{release}").exists():
    raise place.LabError(f"kernel {release}: no image in {' '.join(sorted(seen))}")
  # depmod looks in BASE/lib/modules; in the guest /lib is a link to usr/lib
  (made / "lib").symlink_to("usr/lib")
  place.run(["depmod", "-b", made, release])
  (made / "lib").unlink()


def _normalise(release, tree, made):
  """Whatever the packages' layout is, image and config go to boot/, modules to usr/lib/modules."""
  modules = made / "usr/lib/modules" / release
  modules.parent.mkdir(parents=True)
  (made / "boot").mkdir()
  found = [p for p in (tree / "usr/lib/modules" / release, tree / "lib/modules" / release) if p.is_dir()]
  if not found:
    raise place.LabError(f"kernel {release}: no modules in its packages")
  shutil.move(found[0], modules)
  for name in ("vmlinuz", "config"):
    for place_of in (tree / "boot" / f"{name}-{release}", modules / name):
      if place_of.exists() and not place_of.is_symlink():
        target = made / "boot" / f"{name}-{release}"
        if not target.exists():
          shutil.move(place_of, target)
