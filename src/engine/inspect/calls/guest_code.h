#pragma once
// Code of a program's own with which system calls can be run in it (guest_calls.h): found once for all of its
// threads.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/call_chain.h"
#include "engine/inspect/calls/signal_frame.h"
#include "engine/model/memory/address_space.h"
#include "os/pagemap.h"
#include "os/task_memory.h"

namespace upkeep::engine {

// What a thread's signal frame takes, with what lies below it: room for an answer, and a chain of calls.
inline constexpr std::uint64_t kGuestScratch = 512;
inline constexpr std::uint64_t kGuestRoom = kSignalFrameRoom + kGuestScratch + CallChain::kRoom;
inline constexpr std::uint64_t kGuestAlignment = 64;
inline constexpr std::uint64_t kRedZone = 128;  // below a stack pointer, of the x86-64 ABI

struct GuestCode {
  std::uint64_t system_call = 0;  // syscall; ret
  std::uint64_t sigreturn = 0;
  // Memory for frames that the program has never touched, and how much of it there is; none: frames lie on
  // threads' own stacks.
  std::uint64_t frames = 0, room = 0;
  ChainCode chain;  // only what GuestCodeFinder::find_chain() was asked for

  // Where the frame of a thread may lie whose stack pointer is this.
  os::PageRange frame_range(std::uint64_t stack_pointer) const;
};
// The error names the reason why nothing can be run in this process.
Result<GuestCode> find_guest_code(pid_t pid, const std::vector<Mapping>& mappings,
                                  const os::TaskMemory& memory);

// The same for many processes: where it was in a file it is looked for first in the next process that has the
// file mapped.
class GuestCodeFinder {
 public:
  Result<GuestCode> find(pid_t pid, const std::vector<Mapping>& mappings, const os::TaskMemory& memory);
  // Looks where the system call was FOUND, which is nearly always the C library. Worth it where many threads
  // are asked: all of it is searched, once. What is not there stays 0.
  void find_chain(const std::vector<Mapping>& mappings, const os::TaskMemory& memory, GuestCode& found);

 private:
  struct Place {
    std::uint64_t device, inode, offset;  // in the file
  };
  // One that was searched, and what it has, by offset in the file.
  struct SearchedLibrary {
    std::uint64_t device, inode;
    ChainCode offsets;
  };
  bool find_where_it_was(const std::vector<Mapping>& mappings, const os::TaskMemory& memory,
                         GuestCode& found) const;
  std::optional<Place> system_call_, sigreturn_;
  std::vector<SearchedLibrary> libraries_;
};

}  // namespace upkeep::engine
