#pragma once
// What the new kernel's initramfs has to be able to do before there is a root.

#include "engine/engine.h"
#include "initramfs/modules.h"
#include "landing/machine.h"

namespace upkeep::upgrade {

// To mount ROOT, to hold the network, and for ENGINE (may be null) to restore. Network devices that are not
// physical come on top.
initramfs::Needs boot_needs(const landing::RootFileSystem& root, const engine::Engine* engine);

}  // namespace upkeep::upgrade
