#include "jump/new/stages.h"

namespace upkeep::jump {

operation::Stages restoring_stages(Landing* landing) {
  operation::Stages stages;
  stages.push_back(make_restore_stage(landing));
  stages.push_back(make_resume_stage(landing));
  return stages;
}

operation::Stages landing_stages(Landing* landing) {
  auto stages = restoring_stages(landing);
  stages.insert(stages.begin(), make_land_stage(landing));
  return stages;
}

operation::Stages new_kernel_stages_for_undo() {
  auto stages = landing_stages(nullptr);
  stages.push_back(make_settle_stage(nullptr));
  return stages;
}

}  // namespace upkeep::jump
