#include "jump/new/saved_images.h"

#include "jump/new/landing.h"
#include "jump/new/stages.h"
#include "operation/event_queue.h"
#include "operation/lock.h"
#include "os/file.h"
#include "os/mount.h"
#include "os/procfs.h"

namespace upkeep::jump {

Result<void> restore_saved_images(const std::string& state_dir, const std::string& id,
                                  operation::Journal& journal) {
  TRY_ASSIGN(auto lock, operation::MachineLock::acquire());
  const std::string path = saved_images_path(state_dir, id);
  if (!os::exists(path)) return Err("upgrade {} left no images to restore from", id);
  const std::string directory = "/run/upkeep/" + id;
  TRY(os::make_directories(directory, 0700));
  TRY(os::mount_file_system("upkeep", directory, "tmpfs", "nosuid,nodev,noexec,mode=0700,size=90%"));
  Landing landing(true);
  operation::EventQueue events([&journal](const Event& event) { (void)journal.append(event); });
  operation::Context context(events.record());
  auto restored = landing.open_saved(path, directory);
  if (restored) {
    const auto stages = restoring_stages(&landing);
    restored = operation::apply_stages(stages, context);
    if (!restored) {
      landing.let_go();
      operation::undo_stages(stages, events.progress(), os::boot_id(), events.record().emit);
    }
  }
  (void)os::unmount(directory, true);
  (void)os::remove_tree(directory);
  if (!restored) return restored;
  return discard_saved_images(state_dir, id);
}

Result<void> discard_saved_images(const std::string& state_dir, const std::string& id) {
  const std::string path = saved_images_path(state_dir, id);
  if (!os::exists(path)) return Err("upgrade {} left no images", id);
  return os::remove_tree(path);
}

}  // namespace upkeep::jump
