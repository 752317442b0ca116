#pragma once
// System V semaphores and message queues, made again with their keys, IDs and contents.

#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

class MadeIpcObjects {
 public:
  // On the boot that they were recorded on nothing is made: they outlive their users, and others may have
  // used or removed them since. An ID that somebody else has taken is an error.
  static Result<MadeIpcObjects> make(const Snapshot& snapshot);
  MadeIpcObjects(MadeIpcObjects&&) noexcept = default;
  MadeIpcObjects& operator=(MadeIpcObjects&&) = delete;
  ~MadeIpcObjects();  // what was made goes away again unless keep() was called
  void keep();

 private:
  MadeIpcObjects() = default;
  Result<void> make(const SemaphoreSet& set);
  Result<void> make(const MessageQueue& queue);
  std::vector<int> semaphore_sets_, queues_;
};

}  // namespace upkeep::engine
