#pragma once
// A finished store, read: in the new kernel where it lies in physical memory, through /dev/mem, or from a
// file on disk where it was saved to after a failed restore. Whatever is truncated, corrupted, of another
// version or contradicts itself is one clear error before anything is used.
//
// /dev/mem shows the store because it is (soft) reserved and not "System RAM" (Debian's kernels have
// STRICT_DEVMEM; a mapping that touches a page of System RAM is EPERM), and needs no struct pages for it.
// Kernel lockdown forbids it.
//
// When it is safe: until udev runs. As soon as udev loads dax_hmem, a kernel of 6.3 or later makes the soft
// reserved memory ordinary RAM by itself (kmem) and the images are gone. So everything is extracted, or saved
// to disk with save_to(), before systemd is started; afterwards there is only the file.

#include <cstdint>
#include <optional>
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

class CarriedImages {
 public:
  // Through /dev/mem; ADDRESS: where the store begins in physical memory. Checks header and table, not yet the files.
  static Result<CarriedImages> open(std::uint64_t address, const std::string& memory_device = "/dev/mem");
  // A saved store, whole or only as long as it is used.
  static Result<CarriedImages> open_file(const std::string& path);

  CarriedImages(CarriedImages&&) = default;
  CarriedImages& operator=(CarriedImages&&) = delete;

  const StoreHeader& header() const { return header_; }  // id, ranges
  const std::vector<StoredFile>& files() const { return files_; }
  const StoredFile* find(std::string_view name) const;

  // Each returns bytes only after their checksums were found right.
  Result<std::string> read(std::string_view name) const;
  Result<std::string> manifest() const;
  // Copies what is in the folder PREFIX ("": everything) into DIRECTORY, without PREFIX in the names, on
  // several threads. Files must not be there yet. On an error some of them are there, and none may be used.
  Result<void> extract(os::Fd directory, std::string_view prefix = "", unsigned threads = os::few_threads());
  // Every byte of every file.
  Result<void> verify(unsigned threads = os::few_threads()) const;

  // Writes the store to a file of its own, mode 0600, durably; whole or not at all. Verifies first: what is
  // corrupted is not worth a second attempt.
  Result<void> save_to(const std::string& path) const;

  const Measured& measured() const { return measured_; }  // of extract

 private:
  // Unmaps when it goes.
  struct Mapping {
    const std::byte* address = nullptr;
    std::size_t length = 0;
    Mapping(const std::byte* where, std::size_t size) : address(where), length(size) {}
    Mapping(Mapping&& other) noexcept;
    Mapping& operator=(Mapping&&) = delete;
    ~Mapping();
  };
  CarriedImages() = default;
  static Result<Mapping> map(os::Fd fd, std::uint64_t offset, std::uint64_t length);
  Result<void> load();  // table, from header_ and contents_

  std::vector<Mapping> mappings_;
  StoreContents contents_;
  StoreHeader header_;
  std::vector<StoredFile> files_;
  Measured measured_;
};

}  // namespace upkeep::memory
