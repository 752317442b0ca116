"""The guest: its root file system (made once by mmdebstrap) and disks made from it.

base root   a directory; Debian 13 (trixie) or 12 (bookworm) with the services that scenarios start, all disabled
disk        raw file, GPT, one ext4 partition: base root + kernels + (perhaps) upkeep's package.
            Nobody writes to a cached disk: every run has a qcow2 overlay of its own.
"""

import contextlib
import inspect
import json
import os
import pathlib
import shutil
import subprocess

from . import debian, kernels, place

FORMAT = 1                     # raise when something made here changes that is not part of the hashes below
ROOT_UUID = "75706b65-6570-4c61-8b00-000000000001"
HOSTNAME = "upkeep-guest"
MAC = "52:54:00:75:6b:01"
GUEST4, GUEST6 = "10.77.0.2", "fd77::2"
HOST4, HOST6 = "10.77.0.1", "fd77::1"
DISK_MIB = 3072
KEEP_DISKS = 8
KEEP_ROOTS = 4
GUEST_FILES = place.LAB / "labkit/guest-files"     # go to /usr/lib/upkeep-lab
SUITE = "trixie"               # a guest's, where a scenario does not say another one
SUITES = {suite: (suite, f"{suite}-updates", f"{suite}-security") for suite in ("trixie", "bookworm")}

PACKAGES = """
systemd systemd-sysv udev dbus systemd-timesyncd kmod iproute2 iputils-ping nftables iptables procps psmisc
criu kexec-tools busybox-static python3-minimal cron tmux openssh-server e2fsprogs xfsprogs xz-utils zstd less
redis-server nginx-light memcached postgresql util-linux-extra ca-certificates tcpdump libnl-3-200 strace
""".split()
NOT_IN = {"bookworm": {"criu"}}   # 3.17, which is too old to be a measure

# Installed for scenarios to start; none of them belongs to a fresh guest's boot.
SERVICES = ("redis-server", "nginx", "memcached", "postgresql")
# Background work that would make two runs of the same scenario differ.
NOISE = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "man-db.timer", "logrotate.timer",
         "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "systemd-timesyncd.service",
         "systemd-networkd-wait-online.service", "systemd-tmpfiles-clean.timer", "ldconfig.service",
         "systemd-journal-catalog-update.service", "systemd-update-done.service", "xfs_scrub_all.timer",
         "systemd-firstboot.service", "systemd-hwdb-update.service", "kexec.service", "kexec-load.service",
         "systemd-pcrphase.service", "nfs-blkmap.service")

FILES = {
    "etc/hostname": HOSTNAME + "\n",
    "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {HOSTNAME}\n::1 localhost ip6-localhost\n",
    "etc/fstab": f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 0\n",
    "etc/apt/sources.list": "",
    "etc/systemd/network/10-lab.network": f"""[Match]
MACAddress={MAC}
[Network]
Address={GUEST4}/24
Address={GUEST6}/64
Gateway={HOST4}
DHCP=no
IPv6AcceptRA=no
LLMNR=no
""",
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=64M\n",
    "etc/systemd/system/serial-getty@ttyS0.service.d/lab.conf":
        "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 - $TERM\n",
    "etc/ssh/sshd_config.d/lab.conf":
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPermitRootLogin prohibit-password\nUseDNS no\nX11Forwarding no\n"
        "PrintMotd no\nMaxSessions 64\nMaxStartups 64\n",
    "etc/sysctl.d/60-lab.conf": "kernel.panic = 0\n",
    "etc/default/kexec": "LOAD_KEXEC=false\n",
}


def ssh_key():
  """The key with which the lab logs in to its guests; made once for each cache."""
  def make(made):
    made.mkdir()
    for name in ("id_ed25519", "host_ed25519"):
      place.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "upkeep-lab", "-f", made / name])
    public = " ".join((made / "host_ed25519.pub").read_text().split()[:2])
    (made / "known_hosts").write_text(f"{GUEST4},{GUEST6},{HOSTNAME} {public}\n")
  return place.build(place.CACHE / "ssh", make, "making the lab's ssh key")


def base_root(suite=SUITE, packages=()):
  """The guest's root file system, without kernels and without upkeep. `packages`: beside PACKAGES, for scenarios that need more."""
  if suite not in SUITES:
    raise place.LabError(f"there is no guest with Debian's {suite}, only with {', '.join(SUITES)}")
  keys = ssh_key()
  packages = (*(p for p in PACKAGES if p not in NOT_IN.get(suite, ())), *packages)
  key = place.digest(FORMAT, packages, SERVICES, NOISE, SUITES[suite], json.dumps(FILES, sort_keys=True),
                     (keys / "known_hosts").read_text(), inspect.getsource(_customise))
  path = place.build(place.CACHE / "base" / key, lambda made: _make_base(made, keys, suite, packages),
                     f"making the guest's root file system ({suite}, by mmdebstrap)")
  place.prune(path.parent, KEEP_ROOTS, (path,))
  return path


def _make_base(made, keys, suite, packages):
  listing = made.parent / "sources.list"
  listing.write_text("\n".join(debian.sources(*SUITES[suite])) + "\n")
  place.run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=" + ",".join(packages),
             "--aptopt=Acquire::Languages \"none\"", "--aptopt=APT::Install-Recommends \"false\"",
             "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*",
             "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
             # Java's packages link manual pages there, which are left out
             "--essential-hook=mkdir -p \"$1/usr/share/man/man1\"",
             "--skip=cleanup/reproducible", suite, made, listing], timeout=1800)
  _customise(made, keys)


def _customise(root, keys):
  for name, text in FILES.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
      path.unlink()
    path.write_text(text)
  for old in [*(root / "etc/dpkg/dpkg.cfg.d").glob("99mmdebstrap"),
              *(root / "etc/apt/apt.conf.d").glob("99mmdebstrap"),
              *(root / "etc/apt/sources.list.d").glob("*"), *(root / "etc/ssh").glob("ssh_host_*")]:
    old.unlink()
  shutil.copy(keys / "host_ed25519", root / "etc/ssh/ssh_host_ed25519_key")
  shutil.copy(keys / "host_ed25519.pub", root / "etc/ssh/ssh_host_ed25519_key.pub")
  os.chmod(root / "etc/ssh/ssh_host_ed25519_key", 0o600)
  (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
  shutil.copy(keys / "id_ed25519.pub", root / "root/.ssh/authorized_keys")
  (root / "etc/machine-id").write_text("75706b6565704c618b00000000000077\n")
  # units as systemctl would leave them; --root needs no chroot and works for another release's files
  system = root / "etc/systemd/system"
  for unit in NOISE:
    (system / unit).unlink(missing_ok=True)
    (system / unit).symlink_to("/dev/null")
  chroot = ["chroot", root, "systemctl", "--quiet"]
  place.run([*chroot, "disable", *SERVICES])
  place.run([*chroot, "enable", "systemd-networkd.service", "serial-getty@ttyS0.service", "ssh.service"])
  place.run([*chroot, "set-default", "multi-user.target"])
  (system / "getty.target.wants/getty@tty1.service").unlink(missing_ok=True)
  for leftover in ("var/cache/apt", "var/lib/apt/lists"):
    place.remove_tree(root / leftover)
    (root / leftover / "partial").mkdir(parents=True)


@contextlib.contextmanager
def _mounted(kind, source, target, options=None):
  place.run(["mount", "-t", kind, *(["-o", options] if options else []), source, target])
  try:
    yield
  finally:
    place.run(["umount", "-l", target])


def disk(names, deb=None, suite=SUITE, packages=()):
  """The cached disk of a guest of this suite with these kernels (or more of them), this package of upkeep and these of Debian's;
  (path, releases)."""
  found = sorted({kernels.get(n).release for n in names}, key=kernels.version_key)
  base = base_root(suite, packages)
  content = place.digest(FORMAT, base.name, DISK_MIB, ROOT_UUID, *sorted(GUEST_FILES.iterdir()), pathlib.Path(deb) if deb else "no package")
  directory = place.CACHE / "disks"
  for meta in directory.glob(f"{content}-*/disk.json") if directory.is_dir() else ():
    has = json.loads(meta.read_text())["kernels"]
    if set(found) <= set(has):
      os.utime(meta.parent)
      return meta.parent / "disk.raw", has
  # whatever is here anyway goes along, so that scenarios with different kernels can share a disk
  found = sorted({*found, *kernels.cached(place.SHORT_NAMES)}, key=kernels.version_key)
  path = place.build(directory / f"{content}-{place.digest(*found)}", lambda made: _make_disk(made, base, found, deb),
                     f"making a disk of {suite} with {', '.join(found)}" + (f" and {pathlib.Path(deb).name}" if deb else ""))
  place.prune(directory, KEEP_DISKS, (path,))
  return path / "disk.raw", found


def _make_disk(made, base, releases, deb):
  scratch = made.parent
  upper, work, merged = (scratch / n for n in ("upper", "work", "merged"))
  for directory in (upper, work, merged, made):
    directory.mkdir()
  lower = ":".join(str(p) for p in [*(kernels.get(r).root for r in releases), base])
  # lower layers are only read: a second guest can be made from them at the same time
  with _mounted("overlay", "overlay", merged, f"lowerdir={lower},upperdir={upper},workdir={work}"):
    for source in GUEST_FILES.iterdir():
      (merged / "usr/lib/upkeep-lab").mkdir(parents=True, exist_ok=True)
      shutil.copy(source, merged / "usr/lib/upkeep-lab")
    if deb:
      _install(merged, deb)
    _make_file_system(merged, made / "disk.raw", scratch)
  (made / "disk.json").write_text(json.dumps({"kernels": releases, "deb": str(deb) if deb else None}) + "\n")


def _install(root, deb):
  shutil.copy(deb, root / "tmp/upkeep.deb")
  policy = root / "usr/sbin/policy-rc.d"
  policy.write_text("#!/bin/sh\nexit 101\n")
  policy.chmod(0o755)
  place.run(["chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
             "dpkg", "--force-unsafe-io", "-i", "/tmp/upkeep.deb"])
  policy.unlink()
  (root / "tmp/upkeep.deb").unlink()


def _make_file_system(tree, raw, scratch):
  start, tail = 1, 1           # MiB before the partition, and for the second GPT after it
  with open(raw, "wb") as f:
    f.truncate(DISK_MIB << 20)
  # a fresh file reads as zeros, so nothing has to be initialised, neither now nor later in the guest
  place.run(["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-U", ROOT_UUID, "-L", "upkeep-root", "-d", tree,
             "-O", "^metadata_csum_seed,^orphan_file", "-E",
             f"offset={start << 20},assume_storage_prezeroed=1,lazy_itable_init=0,lazy_journal_init=0,"
             "root_owner=0:0,hash_seed=" + ROOT_UUID, raw, f"{DISK_MIB - start - tail}M"])
  table = scratch / "gpt"
  table.write_text("label: gpt\nlabel-id: 75706b65-6570-4c61-8b00-0000000000aa\n"
                   f"start={start << 11}, size={(DISK_MIB - start - tail) << 11}, type=linux, "
                   "uuid=75706b65-6570-4c61-8b00-0000000000bb\n")
  with open(table) as f:
    done = subprocess.run(["sfdisk", "--quiet", "--no-reread", str(raw)], stdin=f, capture_output=True, text=True)
  if done.returncode != 0:
    raise place.LabError("sfdisk: " + done.stderr)
