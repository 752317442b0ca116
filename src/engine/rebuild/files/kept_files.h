#pragma once
// Files that no path leads to, made again with their contents: shared memory, memfds, unlinked files.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"
#include "engine/rebuild/memory/kept_key.h"
#include "os/fd.h"

namespace upkeep::engine {

class KeptFiles {
 public:
  // PAGES: path of the page contents.
  static Result<KeptFiles> make(const Snapshot& snapshot, const std::string& pages);
  KeptFiles(KeptFiles&&) noexcept;
  KeptFiles& operator=(KeptFiles&&) = delete;
  ~KeptFiles();  // segments that were made go away again unless finish() was called

  // Another open file description of the file that PATH speaks of.
  Result<os::UniqueFd> open(const PathFile& path, std::uint32_t flags) const;
  // Descriptors of ours for whatever the processes have mapped, and run.
  Result<KeptDescriptors> for_mappings(const Snapshot& snapshot);
  // When everything is mapped: seals, and segments that go away with their last user.
  Result<void> finish();

 private:
  struct Made;
  KeptFiles();
  Result<int> descriptor(std::uint64_t device, std::uint64_t inode, bool writable);
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::unique_ptr<Made>> made_;
};

}  // namespace upkeep::engine
