#pragma once
// The second half of the way (engine/engine.h): an image read, and its trees made again in the running kernel.

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::engine {

// Every task exists, with its PID, memory, descriptors and sockets, stopped; it has not run an instruction of its own.
// Letting it go before release() ends them all, and nothing of theirs ever ran. So does the end of this process.
class MadeSet {
 public:
  MadeSet(MadeSet&&) noexcept;
  MadeSet& operator=(MadeSet&&) = delete;
  ~MadeSet();

  // Children of PID 1 from now on, or of the nearest subreaper above this process.
  const std::vector<pid_t>& roots() const;
  const std::vector<pid_t>& pids() const;  // of all processes

  // From here on they cannot be refused any more. TCP sockets leave repair mode and answer their peers: the network,
  // which was closed until now, can be opened. The error names connections that are lost; everything else is there.
  Result<void> go_live();

  enum class Then {
    run,
    stand_stopped,  // by SIGSTOP, until a SIGCONT
  };
  // Peers that have to be asked something are asked, so the network is open; then the tasks run. Goes live where
  // go_live() was not called, with the same errors.
  Result<void> release(Then then = Then::run);

 private:
  friend class LoadedSet;
  struct Parts;
  explicit MadeSet(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// What an image says, as this kernel can make it. No task has been made.
class LoadedSet {
 public:
  // Of the image in DIRECTORY. Refuses what others than root could have written, what was cut short or altered, and
  // what this kernel cannot have.
  static Result<LoadedSet> load(const std::string& directory);
  LoadedSet(LoadedSet&&) noexcept;
  LoadedSet& operator=(LoadedSet&&) = delete;
  ~LoadedSet();

  // Some of the tasks are connected to systemd-journald, which has to listen before they can be made: where there is no
  // systemd yet, somebody has to do it in its place.
  bool wants_journald() const;

  // The set, looked at again and compared with what was saved. After an error there are no tasks.
  Result<MadeSet> make() const;

 private:
  struct Parts;
  explicit LoadedSet(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace upkeep::engine
