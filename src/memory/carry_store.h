#pragma once
// Physical memory that the old kernel gives up for the images, so that they cross the jump where they lie.
//
// The memory is huge pages, taken at run time: they do not move (nothing compacts them; that none was
// migrated all the same is checked before the jump, in_place()), they are physically contiguous, and giving
// them back is writing a number. Nothing is reserved while no upgrade is going on.
//
// The order of things, in prepare, with services running:
//   plan      what would be taken, and what undo needs: the caller journals plan.undo before anything is touched
//   reserve   takes the pages. The mapping lives as long as the CarryStore object and must live until the jump:
//             the process that holds it is the one that jumps (or waits for the one that does)
//   writer    fills it (store_writer.h)
//   ranges, kernel_parameters(ranges), kexec_window(...) (physical_range.h) are for the new kernel
// Undo: destroy the object, or let its process die: the pages return to the kernel's pool; then, from any
// process, undo_reservation(plan.undo) shrinks the pool to what it was. It can be called any number of times.
//
// Pages of 1 GiB are preferred (where the processor has them and memory is plentiful: they consist of whole
// memory blocks, which can be handed back to the new kernel's page allocator); otherwise more pages of 2 MB
// than needed are taken, the longest physical runs are kept (range_choice.h), and the rest is given back at
// once.
//
// Needs root: page frame numbers in /proc/self/pagemap (CAP_SYS_ADMIN) and writing nr_hugepages.

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "common/finding.h"
#include "common/result.h"
#include "memory/measured.h"
#include "memory/physical_range.h"
#include "memory/store_memory.h"
#include "memory/store_writer.h"

namespace upkeep::memory {

// Where the kernel shows its huge pages; other directories in tests.
struct HugePageFiles {
  std::string pools = "/sys/kernel/mm/hugepages";
  std::string meminfo = "/proc/meminfo";
  std::string block_size = "/sys/devices/system/memory/block_size_bytes";
  std::string compact = "/proc/sys/vm/compact_memory";
};

// Bytes, from /proc/meminfo.
struct FreeMemory {
  std::uint64_t total = 0;
  std::uint64_t available = 0;
};
Result<FreeMemory> parse_meminfo(std::string_view text);

// What a machine of this size keeps available for its services while the store exists.
std::uint64_t margin(const FreeMemory& memory);

struct ReservationPlan {
  std::uint64_t bytes_needed = 0;
  FreeMemory memory;
  bool gigantic = false;  // try 1 GiB pages first
  std::uint64_t block_size = 128 * kMiB;
  HugePageFiles files;
  nlohmann::json undo;  // what undo_reservation wants: the pools' sizes now
};
// An error where it does not fit.
Result<ReservationPlan> plan_reservation(std::uint64_t bytes_needed, const HugePageFiles& files = {});
// The same as a line of `upkeep check`.
Finding check_room(std::uint64_t bytes_needed, const HugePageFiles& files = {});

// For plans that were carried out, by whichever process, and for those that were not. Pages that other
// programs use stay theirs.
Result<void> undo_reservation(const nlohmann::json& undo);

class CarryStore {
 public:
  // Bounded by TIME_LIMIT: the kernel may have to compact memory for the pages. On any error what was taken
  // is given back.
  static Result<CarryStore> reserve(const ReservationPlan& plan,
                                    std::chrono::milliseconds time_limit = std::chrono::seconds(20));
  CarryStore(CarryStore&& other) noexcept;
  CarryStore& operator=(CarryStore&&) = delete;
  ~CarryStore();  // unmaps; the kernel's pool keeps its size until undo_reservation

  const std::vector<PhysicalRange>& ranges() const { return ranges_; }  // sorted, merged
  std::uint64_t size() const { return total_size(ranges_); }
  std::uint64_t page_size() const { return page_size_; }
  const StoreMemory& memory() const { return memory_; }
  const Measured& measured() const { return measured_; }  // of reserving

  Result<StoreWriter> writer(std::string id) const {
    return StoreWriter::create(memory_, ranges_, std::move(id));
  }

  // Whether every page still has its physical address: the last thing before the jump. Offlining memory, a
  // soft hardware error or a CMA allocation migrate even huge pages. Well below a millisecond.
  Result<void> in_place() const;

 private:
  CarryStore() = default;
  struct Page {
    std::byte* address;
    std::uint64_t physical;
  };
  static Result<CarryStore> take(const ReservationPlan& plan, std::uint64_t page_size, std::uint64_t extra,
                                 std::chrono::steady_clock::time_point end);
  Result<void> map(std::uint64_t count, std::uint64_t page_size);
  void keep_only(const std::vector<PhysicalRange>& ranges);

  std::vector<Page> pages_;  // by physical address
  std::uint64_t page_size_ = 0;
  std::vector<PhysicalRange> ranges_;
  StoreMemory memory_;
  Measured measured_;
};

}  // namespace upkeep::memory
