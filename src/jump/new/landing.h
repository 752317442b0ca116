#pragma once
// What crossed, on the other side: what the stages of the new kernel share. upkeep-init lands as PID 1; `upkeep
// restore` (saved_images.h) does the same later, from images that were saved to disk.

#include <cstdint>
#include <future>
#include <memory>
#include <string>

#include "jump/manifest.h"
#include "memory/carried_images.h"
#include "operation/context.h"
#include "os/clock.h"

namespace upkeep::jump {

struct RestoredTasks;  // restored_tasks.h

class Landing {
 public:
  // MACHINE_IS_UP: systemd runs, and the network is up already and stays as it is, but for the moment in which
  // sockets come back.
  explicit Landing(bool machine_is_up);
  ~Landing();

  // As PID 1 before there is a root: opens the store at the physical ADDRESS, and begins the stage land. Once the
  // manifest is known CLOCK_REALTIME goes on from what the old kernel read last (FIRST: the clocks as PID 1 found
  // them), and the end of the jump is written down. Then the images are copied out of the store, and checked,
  // while the caller brings devices and the root up: that needs nothing but memory, and no path, since the caller
  // changes the root meanwhile. What goes wrong is the land stage's error.
  void begin(std::uint64_t address, const os::ClockReading& first, operation::Context& context);
  // Whether the manifest is known.
  bool is_open() const { return images_ != nullptr; }
  // Until begin()'s copy is whole. Nothing of a damaged store is used.
  Result<void> wait_for_images();

  // A saved store, copied into DIRECTORY.
  Result<void> open_saved(const std::string& path, const std::string& directory);

  // Ends what this process holds, before anything is undone: the tasks that were made, of which none ran, and
  // journald's sockets.
  void let_go();

  bool machine_is_up() const { return machine_is_up_; }
  // Where the images lie, on a tmpfs: "images" for the engine, "tmpfs" for temporary files.
  const std::string& directory() const { return directory_; }

  Manifest manifest;
  std::unique_ptr<RestoredTasks> tasks;  // from restore on

 private:
  Result<void> open(std::uint64_t address);
  Result<void> begin_copying();

  bool machine_is_up_;
  std::string directory_;
  std::unique_ptr<memory::CarriedImages> images_;
  std::future<Result<void>> copied_;
  Result<void> begun_;
};

// The copy of the images that begin() has made in DIRECTORY, and the memory that it takes. Nothing where it is not
// there.
void remove_copied_images(const std::string& directory);

// Where images are saved after a failed restore, readable by root only.
std::string saved_images_path(const std::string& state_dir, const std::string& id);

}  // namespace upkeep::jump
