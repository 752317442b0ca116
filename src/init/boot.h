#pragma once
// The part of a boot that any initramfs does: kernel file systems, modules, the root.

#include <string>

#include "common/result.h"
#include "machine/root.h"

namespace upkeep::init {

// /proc, /sys, /dev, /run as an empty machine has them.
Result<void> mount_kernel_file_systems();

// Lets new PIDs begin above HIGHEST: until the carried tasks are back nobody else may take theirs.
Result<void> reserve_pids(int highest);

// Loads /modules/order one after the other. A module that is there already is no error, nor one that is not
// required and has nothing to do here.
Result<void> load_modules(const std::string& directory = "/modules");

// The value of NAME= on the kernel command line, empty where it is missing.
Result<std::string> kernel_parameter(std::string_view name);
std::string find_parameter(std::string_view command_line, std::string_view name);

// Mounts the file system on DEVICE on /sysroot and makes it the root: /proc, /sys, /dev and /run move along, the
// initramfs is emptied.
Result<void> enter_root(const std::string& device, const machine::RootFileSystem& root);

}  // namespace upkeep::init
