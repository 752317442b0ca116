#include "jump/old/stages.h"

namespace upkeep::jump {

Stages old_kernel_stages() {
  Stages stages;
  stages.push_back(make_check_stage());
  stages.push_back(make_prepare_stage());
  stages.push_back(make_stop_stage());
  stages.push_back(make_precopy_stage());
  stages.push_back(make_park_stage());
  stages.push_back(make_snapshot_stage());
  stages.push_back(make_jump_stage());
  return stages;
}

}  // namespace upkeep::jump
