#pragma once
// Mappings that a process has in common with many of its children, as those have that were forked and have
// not executed another program. They are mapped once, in the parent before it makes its children, who are
// born with them: for a server with hundreds of workers each of which has its libraries mapped, this is most
// of what would be mapped at all.

#include <cstdint>
#include <list>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/model/snapshot.h"
#include "engine/tree/births.h"

namespace upkeep::engine {

// By where each mapping starts: with which protection (mmap(2)) it is there until it is filled, which whoever
// has it needs for that.
using MappedAlready = std::unordered_map<std::uint64_t, int>;

// Where those mappings start that have pages or other contents of their own.
std::unordered_set<std::uint64_t> filled_mappings(const AddressSpace& memory);

class CommonMemory {
 public:
  CommonMemory() = default;
  explicit CommonMemory(const Births& births);
  // What PROCESS has to map before it makes its children; nullptr: nothing.
  const MappedAlready* to_be_made_by(const Process& process) const;
  // What is there in PROCESS besides the arena, and nothing else, when its memory is made; nullptr: that
  // is not known.
  const MappedAlready* there_in(const Process& process) const;

 private:
  void look_at(const Process& parent, const std::vector<const Process*>& children);
  static void keep_usual(std::vector<const Mapping*>& mappings, const std::vector<const Process*>& children);
  std::list<MappedAlready> all_;                                         // where they are pointed to
  std::unordered_map<std::int32_t, const MappedAlready*> made_, there_;  // by PID
};

}  // namespace upkeep::engine
