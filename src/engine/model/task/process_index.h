#pragma once
// Where in a list of processes each ID is: looked up once for every object of a tree, a walk through the list
// would make the work grow with the square of its size.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/model/task/task.h"

namespace upkeep::engine {

// Not part of the model: equal to any other, and copied empty. Processes may be added to the list at any
// time, and are seen once their ID has been filled in; IDs that were seen do not change afterwards. For one
// thread only.
class ProcessIndex {
 public:
  ProcessIndex() = default;
  ProcessIndex(const ProcessIndex&) {}
  ProcessIndex(ProcessIndex&&) noexcept = default;
  ProcessIndex& operator=(const ProcessIndex&) {
    positions_.clear();
    seen_ = 0;
    return *this;
  }
  ProcessIndex& operator=(ProcessIndex&&) noexcept = default;
  ~ProcessIndex() = default;
  bool operator==(const ProcessIndex&) const { return true; }

  // The first one with this ID, or null.
  const Process* find(const std::vector<Process>& processes, std::int32_t pid) const;

 private:
  mutable std::unordered_map<std::int32_t, std::size_t> positions_;
  mutable std::size_t seen_ = 0;
};

}  // namespace upkeep::engine
