#pragma once
// The initramfs of the new kernel: upkeep-init, the modules that it has to load, and what it has to know.
// Built during prepare; uncompressed, and everything in it decompressed, since whatever is not done here is
// done in the window.
//
//   /init               the static upkeep-init
//   /etc/upkeep-init.json   as the caller gives it
//   /modules/NN-NAME.ko     in loading order
//   /modules/order          JSON: [{"file": "00-failover.ko", "name": "failover", "options": "", "required":
//   true}, …];
//                           one that is not required may fail to load (ENODEV, …) without ending anything
//   /lib/firmware/…         what those modules may ask for, where this machine has it
//   /dev/console /dev/null  the kernel opens the first for PID 1 before anything is mounted
//   /proc /sys /dev /run /sysroot   empty, to mount on

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "initramfs/modules.h"
#include "os/fd.h"

namespace upkeep::initramfs {

struct ImageFile {
  std::string path;  // "etc/hostname"; its directories are made
  std::string content;
  unsigned permissions = 0644;
};

struct ImagePlan {
  std::string init_program;  // path of the static upkeep-init
  std::string init_config;   // becomes /etc/upkeep-init.json
  std::vector<Module> modules;
  std::string firmware_root = "/lib/firmware";
  std::vector<ImageFile> more_files;
};

struct Image {
  std::uint64_t size = 0;            // bytes
  std::vector<std::string> entries;  // paths, sorted
};

// Writes it to OUT from its current position on. OUT should be a memfd or lie on a tmpfs.
Result<Image> build(const ImagePlan& plan, os::Fd out);
// The same into a new file (an old one is replaced), readable by root only: the configuration may hold more
// than others should know. Nothing is left behind on failure.
Result<Image> build_file(const ImagePlan& plan, const std::string& path);

// What init_program must be: an x86-64 ELF program without an interpreter, since there are no shared
// libraries in an initramfs.
Result<void> check_static_program(std::string_view elf);

}  // namespace upkeep::initramfs
