#pragma once
// The stages of the new kernel, a file each. Without a Landing, or without what settle works on, they can only be
// undone.

#include <memory>

#include "operation/shared_stage.h"

namespace upkeep::jump {

class Landing;
struct Manifest;
using NewKernelStage = operation::SharedStage<Landing>;

// Images copied and checked, mounts made. Undo saves the images to disk.
std::unique_ptr<operation::Stage> make_land_stage(Landing* landing);
// Network (held closed meanwhile), temporary files, tasks. After an error none of the tasks ran.
std::unique_ptr<operation::Stage> make_restore_stage(Landing* landing);
// The tasks run, the network opens, and peers that backed off hear of it. It does not fail.
std::unique_ptr<operation::Stage> make_resume_stage(Landing* landing);
// Under systemd: settle.h.
std::unique_ptr<operation::Stage> make_settle_stage(const Manifest* manifest);

// Of PID 1: land, restore, resume.
operation::Stages landing_stages(Landing* landing);
// Of `upkeep restore`: restore, resume.
operation::Stages restoring_stages(Landing* landing);
// All four.
operation::Stages new_kernel_stages_for_undo();

}  // namespace upkeep::jump
