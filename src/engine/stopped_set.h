#pragma once
// The first half of the way (engine/engine.h): process trees that stand still, in ptrace stops of this process. They run
// on, as if nothing had happened, when this is let go and whatever ends this process.

#include <sys/types.h>

#include <memory>
#include <vector>

#include "common/result.h"
#include "engine/carry_set.h"
#include "engine/image.h"

namespace upkeep::engine {

class TakenConnections;

class StoppedSet {
 public:
  // The trees of ROOTS in this order, each whole.
  static Result<StoppedSet> stop(const std::vector<pid_t>& roots);
  StoppedSet(StoppedSet&&) noexcept;
  StoppedSet& operator=(StoppedSet&&) = delete;
  ~StoppedSet();

  // The trees as they stand still. Until then tasks came and went: whatever was collected before is old.
  Result<CarrySet> set() const;
  // All processes, parents before children.
  std::vector<pid_t> pids() const;
  // For those who read them in other ways than save().
  const StoppedTree& tree() const;

  // Reads everything. What cannot be carried is an error that names all of it.
  Result<void> save(ImageWriter& image, Durability durability);
  // What the image holds; empty before save().
  const Snapshot& saved() const;

  // Ends all processes, after save(). Their TCP connections outlive them in the result, for the caller to close: until
  // then nothing may leave or reach them.
  Result<TakenConnections> end() &&;

 private:
  struct Parts;
  explicit StoppedSet(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace upkeep::engine
