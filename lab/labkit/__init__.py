"""labkit: virtual machines with stock Debian kernels, as an instrument for tests, the demo and people.

Rooms, lower ones know nothing of higher ones:
  place     where things are cached, locks, progress lines, atomic building
  debian    Debian's archive through a private apt: signatures, sizes and hashes are apt's business
  kernels   "6.12" -> an unpacked kernel package: image, config, modules
  initrd    cpio archives; the small initramfs that boots a lab guest
  image     the guest's root file system and its disk
  accel     can KVM be trusted here? (tried, remembered)
  qemu      one QEMU process in a network namespace of its own, its console and its monitor
  pcap      reading packet captures
  guest     Machine: what scenarios hold in their hands
  bare      how long does a bare kexec take?
  run       scenario files -> runs
"""
