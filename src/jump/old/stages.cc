#include "jump/old/stages.h"

namespace upkeep::jump {

operation::Stages old_kernel_stages(Run* run) {
  operation::Stages stages;
  for (auto make : {make_check_stage, make_prepare_stage, make_stop_stage, make_precopy_stage,
                    make_park_stage, make_snapshot_stage, make_jump_stage}) {
    stages.push_back(make(run));
  }
  return stages;
}

}  // namespace upkeep::jump
