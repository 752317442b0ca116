#include "jump/new/kept.h"

#include <fcntl.h>

#include "jump/new/landing.h"
#include "operation/lock.h"
#include "os/file.h"
#include "os/mount.h"

namespace upkeep::jump {

Result<void> restore_kept(const std::string& state_dir, const std::string& id, const EventSink& emit) {
  TRY_ASSIGN(auto lock, operation::MachineLock::acquire());
  const std::string path = kept_store_path(state_dir, id);
  if (!os::exists(path)) return Err("upgrade {} left no images to restore from", id);
  const std::string folder = "/run/upkeep/" + id;
  TRY(os::make_directories(folder, 0700));
  TRY(os::mount_file_system("upkeep", folder, "tmpfs", "nosuid,nodev,noexec,mode=0700,size=90%"));
  auto restored = [&]() -> Result<void> {
    TRY_ASSIGN(auto store, memory::CarriedImages::open_file(path));
    TRY_ASSIGN(auto directory, os::open_file(folder, O_RDONLY | O_DIRECTORY));
    TRY_ASSIGN(auto landed, extract_store(store, directory));
    landed.folder = folder;
    return restore_tasks(landed, {.put_network_back = false}, emit);
  }();
  (void)os::unmount(folder, true);
  (void)os::remove_tree(folder);
  if (!restored) return restored;
  return discard_kept(state_dir, id);
}

Result<void> discard_kept(const std::string& state_dir, const std::string& id) {
  const std::string path = kept_store_path(state_dir, id);
  if (!os::exists(path)) return Err("upgrade {} left no images", id);
  return os::remove_tree(path);
}

}  // namespace upkeep::jump
