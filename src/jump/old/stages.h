#pragma once
// The stages before the jump, a file each. Without a Run they can only be undone.

#include <memory>

#include "operation/shared_stage.h"

namespace upkeep::jump {

class Run;
using OldKernelStage = operation::SharedStage<Run>;

// In order: check, prepare, stop, precopy, park, snapshot, jump.
operation::Stages old_kernel_stages(Run* run);

// Nothing stands in the way.
std::unique_ptr<operation::Stage> make_check_stage(Run* run);
// Store, initramfs, boot image: everything that takes long and stops nobody.
std::unique_ptr<operation::Stage> make_prepare_stage(Run* run);
// Units that are not carried.
std::unique_ptr<operation::Stage> make_stop_stage(Run* run);
// Memory copied ahead, files synced.
std::unique_ptr<operation::Stage> make_precopy_stage(Run* run);
// The carry set stands still, the network is closed.
std::unique_ptr<operation::Stage> make_park_stage(Run* run);
// Image, manifest, store.
std::unique_ptr<operation::Stage> make_snapshot_stage(Run* run);
std::unique_ptr<operation::Stage> make_jump_stage(Run* run);

}  // namespace upkeep::jump
