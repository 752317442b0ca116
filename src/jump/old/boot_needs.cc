#include "jump/old/boot_needs.h"

#include "engine/engine.h"

namespace upkeep::jump {

initramfs::Needs boot_needs(const machine::RootFileSystem& root) {
  initramfs::Needs needs;
  needs.file_systems.push_back({root.major, root.minor, root.fs_type});
  for (auto module : initramfs::hold_modules) needs.names.emplace_back(module);
  for (auto module : engine::kModules) needs.names.emplace_back(module);
  return needs;
}

}  // namespace upkeep::jump
