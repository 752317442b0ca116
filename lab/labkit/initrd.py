"""cpio archives, and the small initramfs that boots a lab guest (busybox, the modules that its root needs)."""

import lzma
import pathlib
import stat

from . import debian, place

# What a guest's root may need; those that a kernel has built in, or does not have, are left out.
ROOT_MODULES = ("virtio_pci", "virtio_blk", "nvme", "ext4", "overlay")

INIT = """\
#!/bin/busybox sh
# PID 1 of the lab's initramfs: finds root=UUID=..., goes there.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
echo "lab-initrd: pid 1" > /dev/console
for m in $($b cat /modules.list); do $b insmod /modules/$m || echo "lab-initrd: $m does not load"; done
root= init=/sbin/init
for word in $($b cat /proc/cmdline); do
  case $word in root=*) root=${word#root=} ;; init=*) init=${word#init=} ;; esac
done
tries=0
until dev=$($b findfs "$root" 2>/dev/null) && [ -b "$dev" ]; do
  tries=$((tries + 1))
  if [ $tries -gt 300 ]; then echo "lab-initrd: no device for $root"; $b ls -l /dev; $b poweroff -f; fi
  $b usleep 20000
done
$b mount -t ext4 -o rw "$dev" /root || { echo "lab-initrd: cannot mount $dev"; $b poweroff -f; }
$b umount /proc /sys
exec $b switch_root /root $init
"""


class Cpio:
  """A "newc" archive, as the kernel unpacks it."""

  def __init__(self):
    self._parts, self._ino, self._size = [], 0, 0

  def _add(self, name, mode, data=b"", rdev=(0, 0)):
    self._ino += 1
    raw = name.encode() + b"\0"
    fields = [self._ino, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0]
    self._put(b"070701" + b"".join(b"%08X" % f for f in fields) + raw)
    self._put(data)

  def _put(self, data):
    data += b"\0" * (-(self._size + len(data)) % 4)
    self._parts.append(data)
    self._size += len(data)

  def directory(self, name):
    self._add(name, stat.S_IFDIR | 0o755)

  def file(self, name, data, mode=0o644):
    self._add(name, stat.S_IFREG | mode, data)

  def device(self, name, kind, major, minor):
    self._add(name, kind | 0o600, rdev=(major, minor))

  def finish(self):
    self._add("TRAILER!!!", 0)
    return b"".join(self._parts) + b"\0" * (-self._size % 512)


def module_files(kernel, names):
  """The module files of these names and what they depend on, in the order in which they load."""
  depends, by_name = {}, {}
  for line in (kernel.modules / "modules.dep").read_text().splitlines():
    path, _, needs = line.partition(":")
    depends[path] = needs.split()
    by_name[pathlib.Path(path).name.split(".")[0].replace("-", "_")] = path
  order = []
  for name in names:
    path = by_name.get(name)
    # modules.dep names all dependencies, the one that loads first last
    for needed in ([*reversed(depends[path]), path] if path else []):
      if needed not in order:
        order.append(needed)
  return [kernel.modules / p for p in order]


def module_bytes(path):
  if path.suffix == ".xz":
    return lzma.decompress(path.read_bytes())
  if path.suffix == ".zst":
    raise place.LabError(f"{path}: zstd modules are not read yet")
  return path.read_bytes()


def busybox():
  """Debian's static busybox, out of its package."""
  def make(made):
    apt = debian.Apt()
    apt.update()
    [deb] = apt.download(["busybox-static"], made.parent / "debs")
    debian.unpack(deb, made.parent / "tree")
    found = [p for p in (made.parent / "tree").rglob("bin/busybox") if p.is_file()]
    found[0].rename(made)
  return place.build(place.CACHE / "tools/busybox", make, "fetching busybox")


def base(kernel, init=INIT, modules=ROOT_MODULES):
  """The bytes of an initramfs with busybox, these modules and this /init."""
  cpio = Cpio()
  for name in ("bin", "dev", "proc", "sys", "root", "modules"):
    cpio.directory(name)
  cpio.device("dev/console", stat.S_IFCHR, 5, 1)
  cpio.file("bin/busybox", busybox().read_bytes(), 0o755)
  files = module_files(kernel, modules)
  for path in files:
    cpio.file("modules/" + path.name.split(".ko")[0] + ".ko", module_bytes(path))
  cpio.file("modules.list", "".join(p.name.split(".ko")[0] + ".ko\n" for p in files).encode())
  cpio.file("init", init.encode(), 0o755)
  return cpio.finish()


def lab_initrd(kernel):
  """The cached initramfs that boots a guest's disk with this kernel."""
  key = place.digest(pathlib.Path(__file__))
  return place.build(place.CACHE / "initrd" / f"{kernel.release}.{key}.cpio",
                     lambda made: made.write_bytes(base(kernel)), f"initramfs for {kernel.release}")
