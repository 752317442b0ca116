#pragma once
// What crossed, on the other side: opened, checked, and made into running tasks again. upkeep-init does this
// as PID 1; `upkeep restore` (recovery/kept.h) does the same later from images that were kept on disk.

#include <functional>
#include <memory>
#include <string>

#include "common/event.h"
#include "jump/manifest.h"
#include "memory/carried_images.h"
#include "os/fd.h"

namespace upkeep::jump {

// What crossed, copied out of the store into a folder on a tmpfs: "images" for the engine, "tmpfs" for
// temporary files.
struct Landing {
  Manifest manifest;
  std::string folder;
};

// Into DIRECTORY; checks all of it while copying: nothing of a damaged store is used. The result's folder is
// for the caller to set.
Result<Landing> extract_store(memory::CarriedImages& store, os::Fd directory);

struct RestoreOptions {
  bool put_network_back = true;  // false where the machine's network is up already
  // Called where tasks are connected to systemd-journald (LoadedSet::wants_journald() of engine/engine.h).
  std::function<Result<void>()> on_journald_wanted = {};
};

// Network (held closed meanwhile), temporary files, tasks; then the tasks run, the network opens, and peers
// that backed off are told. Emits the stages restore and resume. On error none of the tasks ran, and the
// network is open.
Result<void> restore_tasks(const Landing& landing, const RestoreOptions& options, const EventSink& emit);

// Where images are kept after a failed restore, readable by root only.
std::string kept_store_path(const std::string& state_dir, const std::string& id);

}  // namespace upkeep::jump
