#pragma once
// POSIX message queues, made again.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

class MadePosixQueues {
 public:
  // Those that have names are still there on the boot that they were recorded on, as long as nobody has
  // removed them: they outlive their users. Then they have to be the recorded ones.
  static Result<MadePosixQueues> make(const Snapshot& snapshot);
  MadePosixQueues(MadePosixQueues&&) noexcept = default;
  MadePosixQueues& operator=(MadePosixQueues&&) = delete;
  ~MadePosixQueues();  // names that were made go away again unless keep() was called
  void keep() { names_.clear(); }

  // Another open file description of the queue that FILE speaks of.
  Result<os::UniqueFd> open(const OpenFile& file) const;

 private:
  MadePosixQueues() = default;
  Result<os::UniqueFd> make(const PosixQueue& queue, const Snapshot& snapshot);
  std::map<std::pair<std::uint64_t, std::uint64_t>, os::UniqueFd> queues_;  // by what they are known by
  std::vector<std::string> names_;
};

}  // namespace upkeep::engine
