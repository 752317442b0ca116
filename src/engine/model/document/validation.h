#pragma once
// What objects of a document may refer to: all that validate(object, known) of one object has to know of the others.

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <unordered_set>
#include <utility>

#include "common/result.h"

namespace upkeep::engine {

struct KnownObjects {
  std::size_t files = 0, namespaces = 0, keyrings = 0,
              seccomp_filters = 0;                    // how many there are of each list
  std::unordered_set<std::int32_t> processes, tasks;  // PIDs; thread IDs of all
  std::set<std::pair<std::uint64_t, std::uint64_t>> kept_files, posix_queues;  // device and inode
  std::set<std::uint64_t> rings;                                               // inodes
  std::map<std::uint64_t, bool> terminals;  // by device; true: a pseudo-terminal
};

// Whether a task may have this ID: 1 is the machine's init, which nobody carries.
inline bool is_task_id(std::int32_t number) {
  constexpr std::int32_t kFirst = 2, kLimit = 4 << 20;  // PID_MAX_LIMIT of linux/threads.h
  return number >= kFirst && number < kLimit;
}

}  // namespace upkeep::engine
