#pragma once
// Fills a store: files are copied and checksummed in one pass, on several threads. What is known early
// (images of a pre-dump) is added while services run, the rest inside the window; finish() then writes the
// table of files and, last of all, the header. Until then the store has no valid header, so a half-written
// one is never read.
//
// Errors: no room (the message says how much is missing; the store stays as it was before the call),
// unreadable files, files whose size changes while they are read, anything that is neither file, folder nor
// symbolic link.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "memory/measured.h"
#include "memory/physical_range.h"
#include "memory/store_format.h"
#include "memory/store_memory.h"
#include "os/fd.h"
#include "os/parallel.h"

namespace upkeep::memory {

// The name under which the manifest is carried; CarriedImages::manifest() looks for it.
inline constexpr std::string_view kManifestName = "manifest.json";

// Room that FILES files of BYTES bytes together need at most, with header and table. The caller adds its own
// margin for what may still grow.
std::uint64_t store_size_for(std::uint64_t bytes, std::uint64_t files);

class StoreWriter {
 public:
  // MEMORY has as many bytes as RANGES, in the same order, and outlives the writer. ID is the upgrade's. An
  // old header that lies there is wiped.
  static Result<StoreWriter> create(StoreMemory memory, std::vector<PhysicalRange> ranges, std::string id,
                                    unsigned threads = os::few_threads());

  // Folders on the way to NAME are made (mode 0700). Each name can be added once.
  Result<void> add_bytes(const std::string& name, std::string_view bytes, std::uint32_t permissions = 0600);
  // The whole of a regular file, whatever its file offset; permissions are taken over.
  Result<void> add_file(const std::string& name, os::Fd file);
  // What is in DIRECTORY (files, folders, symbolic links as such), recursively, below the folder PREFIX ("":
  // at the top). Names come out sorted.
  Result<void> add_tree(const std::string& prefix, os::Fd directory);

  // Afterwards nothing can be added.
  Result<void> finish();

  std::uint64_t used() const { return data_end_ + table_size_; }
  std::uint64_t room() const { return memory_.size() - used(); }
  const Measured& measured() const { return measured_; }  // all copying so far

 private:
  struct Source;  // where a new file's bytes come from
  StoreWriter(StoreMemory memory, std::vector<PhysicalRange> ranges, std::string id, unsigned threads);
  Result<void> add_sources(std::vector<Source> sources);
  Result<void> place(StoredFile& file, std::uint64_t& data_end, std::uint64_t& table_size) const;
  Result<void> copy(const std::vector<Source>& sources, std::size_t first);
  bool has(std::string_view name) const;
  void add_missing_folders(const std::string& name, std::vector<Source>& sources) const;

  StoreMemory memory_;
  std::vector<PhysicalRange> ranges_;
  std::string id_;
  unsigned threads_;
  std::vector<StoredFile> files_;
  std::uint64_t data_end_ = kHeaderSize;
  std::uint64_t table_size_ = 0;
  bool finished_ = false;
  Measured measured_;
};

}  // namespace upkeep::memory
