#pragma once
// What the new kernel's initramfs has to be able to do before there is a root.

#include "initramfs/modules.h"
#include "machine/root.h"

namespace upkeep::jump {

// To mount ROOT, to hold the network, and for the engine to restore. Network devices that are not
// physical come on top.
initramfs::Needs boot_needs(const machine::RootFileSystem& root);

}  // namespace upkeep::jump
