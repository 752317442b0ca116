#include "upgrade/boot_needs.h"

namespace upkeep::upgrade {

initramfs::Needs boot_needs(const landing::RootFileSystem& root, const engine::Engine* engine) {
  initramfs::Needs needs;
  needs.file_systems.push_back({root.major, root.minor, root.fs_type});
  for (auto module : initramfs::hold_modules) needs.names.emplace_back(module);
  if (engine != nullptr) {
    for (auto& module : engine->modules()) needs.names.push_back(std::move(module));
  }
  return needs;
}

}  // namespace upkeep::upgrade
