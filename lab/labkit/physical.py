"""The guest's physical memory, from outside: read through QEMU's monitor, written through its gdb stub.

This is how a scenario does what bad memory, or whatever else runs between two kernels, would do to the images.
"""

import contextlib
import socket
import struct

from . import place

MAGIC = b"UPKEEPST"
HEADER = struct.Struct("<8sII64sQQQQQQ")    # src/memory/store_format.cc; then the ranges: start and size of each
USED_LENGTH = 8 + 4 + 4 + 64 + 8            # offset of that field


class Memory:
  """Use as a context: the machine stands still meanwhile, as far as it has a gdb stub's attention."""

  def __init__(self, m):
    self.m = m

  def __enter__(self):
    path = self.m.qemu.sockets / "gdb"
    path.unlink(missing_ok=True)
    self.m.qemu.monitor.command("human-monitor-command", **{"command-line": f"gdbserver unix:{path},server=on,wait=off"})
    with contextlib.ExitStack() as stack:
      self._socket = stack.enter_context(socket.socket(socket.AF_UNIX))
      self._socket.settimeout(10)
      self._socket.connect(str(path))
      features = self._ask("qSupported")
      self._size = next((int(f[11:], 16) for f in features.split(";") if f.startswith("PacketSize=")), 1024)
      self._ask("Qqemu.PhyMemMode:1")
      self._stack = stack.pop_all()
    return self

  def __exit__(self, *_):
    with self._stack:
      self._ask("D")             # detach: the machine goes on
    self.m.qemu.monitor.command("human-monitor-command", **{"command-line": "gdbserver none"})
    return False

  def _ask(self, packet):
    self._socket.sendall(f"${packet}#{sum(packet.encode()) % 256:02x}".encode())
    answer = b""
    while len(answer.partition(b"#")[2]) < 2:
      piece = self._socket.recv(65536)
      if not piece:
        raise place.LabError("QEMU closed its gdb stub")
      answer += piece
    self._socket.sendall(b"+")
    return answer.partition(b"$")[2].partition(b"#")[0].decode(errors="replace")

  def write(self, address, data):
    piece = (self._size - 64) // 2
    for at in range(0, len(data), piece):
      part = data[at:at + piece]
      answer = self._ask(f"M{address + at:x},{len(part):x}:{part.hex()}")
      if answer != "OK":
        raise place.LabError(f"the gdb stub does not write to {address + at:#x}: {answer}")

  def read(self, address, size):
    path = self.m.run_dir / "memory.bin"
    try:
      self.m.qemu.monitor.command("pmemsave", val=address, size=size, filename=str(path))
      return path.read_bytes()
    finally:
      path.unlink(missing_ok=True)


class Store:
  """The store that lies at a physical address; offsets count through its ranges."""

  def __init__(self, memory, address):
    self.memory, self.address = memory, address
    page = memory.read(address, 4096)
    magic, _, _, _, self.total, self.used, self.table, _, _, count = HEADER.unpack_from(page)
    if magic != MAGIC:
      raise place.LabError(f"there is no store at {address:#x}: it begins with {magic!r}")
    self.ranges = [struct.unpack_from("<QQ", page, HEADER.size + 16 * n) for n in range(count)]

  def write(self, offset, data):
    for start, size in self.ranges:
      part = data[:max(0, size - offset)]
      if part:
        self.memory.write(start + offset, part)
        data = data[len(part):]
      offset = max(0, offset - size)


def damage(m, address):
  """Overwrites 64 bytes of the images."""
  with Memory(m) as memory:
    Store(memory, address).write(3 << 20, b"\xa5" * 64)
  place.say("  64 bytes of the images are damaged")


def cut_tail(m, address):
  """Zeros where the second half of the store was: what a copy that ended too early looks like."""
  with Memory(m) as memory:
    store = Store(memory, address)
    half = store.used // 2
    store.write(half, bytes(store.used - half))
  place.say(f"  of {store.used:,} bytes of the store {store.used - half:,} are gone")


def cut_length(m, address):
  """The header says that the store ends a page earlier."""
  with Memory(m) as memory:
    store = Store(memory, address)
    store.write(USED_LENGTH, struct.pack("<Q", store.used - 4096))
  place.say(f"  the store's header says {store.used - 4096:,} bytes instead of {store.used:,}")
