#include "engine/model/files/pipe.h"

namespace upkeep::engine {

void make_comparable(Pipe& value, const Pipe*, Comparison& comparison) {
  value.inode = comparison.pipes(value.inode);
}

}  // namespace upkeep::engine
