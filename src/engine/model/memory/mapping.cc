#include "engine/model/memory/mapping.h"

namespace upkeep::engine {

Result<void> validate(const Mapping& mapping, const KnownObjects& known) {
  if (mapping.of_kept_file() && !known.kept_files.contains({mapping.device, mapping.inode}))
    return Err("what is mapped at {:#x} is not part of the snapshot", mapping.start);
  if (mapping.kind == MappingKind::io_uring && (!mapping.shared || !known.rings.contains(mapping.inode)))
    return Err("the ring mapped at {:#x} is not part of the snapshot", mapping.start);
  return {};
}

}  // namespace upkeep::engine
