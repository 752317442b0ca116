#include "engine/rebuild/files/io_uring.h"

#include <algorithm>
#include <cstring>

#include "os/io_uring.h"

namespace upkeep::engine {
namespace {

Result<void> put_back(std::span<std::byte> memory, const Bytes& bytes) {
  if (memory.size() != bytes.data.size())
    return Err("a ring has {} bytes of memory here, and had {}", memory.size(), bytes.data.size());
  std::memcpy(memory.data(), bytes.data.data(), memory.size());
  return {};
}

}  // namespace

Result<os::UniqueFd> make_io_uring(const IoUring& uring) {
  if (!uring.flags) return Err("the flags that it was made with are not known");
  const os::RingShape shape = {*uring.flags, uring.sq_entries, uring.cq_entries};
  TRY_ASSIGN(auto made, os::make_ring(shape));
  if (made.places != uring.places) return Err("its memory is laid out otherwise by this kernel");
  TRY_ASSIGN(const auto memory,
             os::RingMemory::map(made.fd, os::rings_size(shape, made.places), os::entries_size(shape)));
  os::RingCounters counters = {uring.sq_head, uring.cq_tail, 0};
  std::memcpy(&counters.read, uring.rings.data.data() + uring.places.at(os::kCqHead), sizeof counters.read);
  TRY(os::advance_ring(made.fd, shape, made.places, memory, counters));
  TRY(put_back(memory.rings(), uring.rings));
  TRY(put_back(memory.entries(), uring.entries));
  return std::move(made.fd);
}

Result<void> add_rings_for_mappings(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files,
                                    KeptDescriptors& kept) {
  for (const auto& process : snapshot.processes) {
    for (const auto& mapping : process.memory.mappings) {
      if (mapping.kind != MappingKind::io_uring) continue;
      const auto file = std::ranges::find_if(snapshot.files, [&](const OpenFile& one) {
        return one.io_uring && one.io_uring->inode == mapping.inode;
      });
      if (file == snapshot.files.end())
        return Err("process {}: the ring mapped at {:#x} is not part of the snapshot", process.pid,
                   mapping.start);
      const auto index = static_cast<std::size_t>(file - snapshot.files.begin());
      kept[{mapping.device, mapping.inode, mapping.needs_writable_file()}] = files[index].get();
    }
  }
  return {};
}

}  // namespace upkeep::engine
