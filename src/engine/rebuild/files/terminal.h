#pragma once
// Terminals made again: a pseudo-terminal gets the number that it had, which the kernel gives only when all
// lower ones are taken; those are taken meanwhile and let go.

#include <cstdint>
#include <map>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

class Terminals {
 public:
  // With size, attributes, and what has not been read. The error names one whose number is taken.
  Result<void> make(const Snapshot& snapshot);
  // A description that leads to one of them, or to one that was hung up.
  Result<os::UniqueFd> open(const OpenFile& file);
  // When all descriptions are open: from here on nobody but the tree has a slave open.
  Result<void> finish();

 private:
  struct Made {
    const Terminal* terminal = nullptr;
    os::UniqueFd master, slave;
  };
  Result<void> make_pseudo(const std::vector<const Terminal*>& wanted);
  std::map<std::uint64_t, Made> made_;
};

}  // namespace upkeep::engine
