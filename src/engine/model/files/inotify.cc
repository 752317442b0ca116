#include "engine/model/files/inotify.h"

namespace upkeep::engine {

void make_comparable(InotifyWatch& value, const InotifyWatch*, Comparison&) {
  forget_volatile_inode(value.device, value.inode);
}

}  // namespace upkeep::engine
