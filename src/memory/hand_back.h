#pragma once
// Giving the store's memory to the running new kernel's page allocator, once the images are used up.
//
// The new kernel was told that the store is soft reserved (kernel_parameters, physical_range.h). dax_hmem
// makes a DAX region of each soft reserved range; a device with a mapping of its own is made of whole memory
// blocks in it, and the kmem driver hot-adds that as ordinary RAM, which is brought online as movable, so
// that the next upgrade finds contiguous memory there again. (Documentation/ABI/testing/sysfs-bus-dax.)
//
// What was in the store is not wiped first: the pages become free memory like any other, and the kernel
// clears a page before a process or the page cache gets to see it, as it does with the memory of every
// process that ends. They can be read through /dev/mem until then, by root.
//
// When: after commit, in the settled system, where modules can be loaded. Never before: memory that came
// online is overwritten at once. A kernel of 6.3 or later does all this by itself when udev loads dax_hmem
// (kmem binds to soft reserved memory on its own): that is recognised, and reported as handed back. It is
// harmless, because images are extracted or saved to disk before udev starts (carried_images.h).
//
// What stays reserved, with the reason, until the machine boots the next time (each kexec starts from the
// firmware's memory map again): what is not a whole block (128 MB mostly), and everything where the kernel
// lacks dax_hmem or kmem, or a range was only reserved and not soft reserved. That is a warning, not a
// failure.

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "memory/measured.h"
#include "memory/physical_range.h"

namespace upkeep::memory {

// The kernel's files; other folders in tests.
struct HotplugFiles {
  std::string dax = "/sys/bus/dax";
  std::string blocks = "/sys/devices/system/memory";
  std::string iomem = "/proc/iomem";
  // Loads a module with options; `modprobe` unless a test says otherwise.
  std::function<Result<void>(const std::vector<std::string>& module_and_options)> load_module;
};

struct HandedBack {
  struct Kept {
    PhysicalRange range;
    std::string why;
  };
  std::vector<PhysicalRange> given;
  std::vector<Kept> kept;
  Measured measured;
  nlohmann::json to_json() const;
};

// STORE: the ranges of the store's header. Only what went wrong in a way that leaves the state unknown is an
// error.
Result<HandedBack> hand_back(std::span<const PhysicalRange> store, const HotplugFiles& files = {});

// The lines of /proc/iomem below which memory was hot-added by kmem ("System RAM (kmem)").
std::vector<PhysicalRange> parse_kmem_ram(std::string_view iomem);

}  // namespace upkeep::memory
