#pragma once
// One function for each stage before the jump, in order; a file each.

#include "jump/old/stage.h"

namespace upkeep::jump {

std::unique_ptr<Stage> make_check_stage();  // nothing that stands in the way
std::unique_ptr<Stage>
make_prepare_stage();  // store, initramfs, boot image: everything that takes long and stops nobody
std::unique_ptr<Stage> make_stop_stage();      // units that are not carried
std::unique_ptr<Stage> make_precopy_stage();   // memory copied ahead, files synced
std::unique_ptr<Stage> make_park_stage();      // the carry set stands still, the network is closed
std::unique_ptr<Stage> make_snapshot_stage();  // images, manifest, store
std::unique_ptr<Stage> make_jump_stage();

}  // namespace upkeep::jump
