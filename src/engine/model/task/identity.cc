#include "engine/model/task/identity.h"

#include <sys/prctl.h>

namespace upkeep::engine {

void make_comparable(ThreadSettings& value, const ThreadSettings*, Comparison&) {
  for (auto* state : {&value.store_bypass, &value.indirect_branch, &value.l1d_flush}) {
    if ((*state & PR_SPEC_PRCTL) == 0 || (*state & PR_SPEC_ENABLE) != 0) *state = 0;
  }
}

}  // namespace upkeep::engine
