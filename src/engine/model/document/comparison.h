#pragma once
// What make_comparable(object, other, comparison) has to know beside its object, while one of two snapshots is made
// comparable with the other: what cannot be the same afterwards is forgotten in both, numbers that stand for objects
// are replaced by the order in which they appear.

#include <sys/sysmacros.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>

namespace upkeep::engine {

// Numbers that stand for objects: the first one that appears becomes 1, and so on.
class Renumbered {
 public:
  std::uint64_t operator()(std::uint64_t number) {
    return numbers_.emplace(number, numbers_.size() + 1).first->second;
  }

 private:
  std::map<std::uint64_t, std::uint64_t> numbers_;
};

class RenumberedFiles {
 public:
  std::uint64_t operator()(std::uint64_t device, std::uint64_t inode) {
    return numbers_.emplace(std::pair(device, inode), numbers_.size() + 1).first->second;
  }
  // What stands for a kept file; 0: none does. Its name is one that it does not have any more.
  void forget(std::string& name, std::uint64_t& device, std::uint64_t& inode) {
    if (inode == 0) return;
    inode = (*this)(device, inode);
    device = 0;
    name.clear();
  }

 private:
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> numbers_;
};

// Files of a tmpfs may have been put back since.
inline void forget_volatile_inode(std::uint64_t& device, std::uint64_t& inode) {
  if (major(device) == 0) inode = 0;
  device = 0;
}

struct Comparison {
  // As they were in the snapshot that is made comparable.
  std::unordered_set<std::int32_t> tasks;                               // PIDs and thread IDs
  std::set<std::uint64_t> sockets_here;                                 // inodes
  std::set<std::pair<std::uint64_t, std::uint64_t>> posix_queues_open;  // device and inode
  std::map<std::uint32_t, std::uint32_t> keyrings;                      // where those are now that are left
  Renumbered namespaces, pipes, sockets, rings;
  RenumberedFiles kept_files;
};

}  // namespace upkeep::engine
