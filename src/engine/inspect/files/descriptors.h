#pragma once
// Which descriptors there are, and which of them lead to the same open file description.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/look.h"
#include "engine/inspect/files/descriptor_facts.h"
#include "engine/inspect/files/epoll.h"
#include "engine/inspect/files/open_file.h"
#include "engine/inspect/sockets/socket_reading.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"
#include "os/survivor.h"

namespace upkeep::engine {

// Of all descriptors of a process, in their order. Names are those that they have for the calling thread. One
// that is closed meanwhile is left out at a glance, and an error where the tasks stand still.
Result<std::vector<DescriptorFacts>> read_descriptor_facts(pid_t pid, Look tasks);

// All descriptors of all processes.
class DescriptorReader {
 public:
  // SURVIVOR: puts back what is changed for a look; may be null.
  DescriptorReader(Snapshot& snapshot, os::Survivor* survivor);
  Result<void> read(Process& process, std::vector<DescriptorFacts> descriptors, Look tasks);
  // When all of them are known.
  void finish(Look tasks) { find_watched_files(places_, tasks, snapshot_); }

 private:
  void add_what_is_ours(DescriptorFacts& facts);
  Result<std::uint32_t> file_of(const DescriptorFacts& facts, Look tasks);
  Result<OpenFileReading> read_held(const DescriptorFacts& facts);
  Result<void> read_in_flight(std::uint32_t socket, std::vector<InFlight> in_flight);
  Snapshot& snapshot_;
  os::UniqueFd own_root_;  // from before any mount namespace was entered
  std::uint64_t own_network_;
  SocketDiag own_diag_;
  os::Survivor* survivor_;
  // Only descriptors of the same object are compared with kcmp(2), whose order they are kept in, as indices
  // into places_: thousands of descriptors may be of one object (/dev/null, and whatever has no name).
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<std::uint32_t>> sorted_;
  std::vector<OpenFilePlace> places_;    // one for each of Snapshot::files
  std::vector<os::UniqueFd> in_flight_;  // they stay open, since they are places too
};

}  // namespace upkeep::engine
