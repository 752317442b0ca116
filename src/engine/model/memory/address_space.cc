#include "engine/model/memory/address_space.h"

#include <algorithm>
#include <array>

namespace upkeep::engine {
namespace {

constexpr std::uint64_t kVsyscall = 0xffffffffff600000;  // above everything else
constexpr std::uint32_t kProtectionKeys = 16;            // of x86-64, pkeys(7)

Result<void> check_guards(const std::vector<GuardRegion>& guards) {
  std::uint64_t end = 0;
  for (const auto& guard : guards) {
    if (guard.start < end || guard.end <= guard.start || guard.end > kHighestAddress ||
        guard.start % kPage != 0 || guard.end % kPage != 0)
      return Err("the guard region at {:#x} is out of order or out of bounds", guard.start);
    end = guard.end;
  }
  return {};
}

// Execute-only memory has one that the kernel has taken for it.
Result<void> check_keys(const AddressSpace& memory) {
  if (memory.protection_keys >> kProtectionKeys != 0)
    return Err("there are no more than {} protection keys", kProtectionKeys);
  const auto execute_only = memory.execute_only_key();
  for (const auto& mapping : memory.mappings) {
    const auto key = mapping.protection_key;
    if (key != 0 && !memory.has_allocated(key) && !(mapping.execute_only() && key == execute_only))
      return Err("the mapping at {:#x} has protection key {}, which is not there", mapping.start, key);
  }
  return {};
}

Result<void> check_mappings(const AddressSpace& memory) {
  std::uint64_t end = 0;
  for (const auto& mapping : memory.mappings) {
    if (mapping.kind == MappingKind::vsyscall && mapping.start == kVsyscall) continue;  // made by the kernel
    if (mapping.start % kPage != 0 || mapping.end % kPage != 0 || mapping.offset % kPage != 0)
      return Err("the mapping at {:#x} is not aligned", mapping.start);
    if (mapping.huge_page != 0 &&
        (!is_huge_page(mapping.huge_page) || mapping.start % mapping.huge_page != 0 ||
         mapping.end % mapping.huge_page != 0 || mapping.kind == MappingKind::vdso))
      return Err("the mapping at {:#x} does not consist of huge pages", mapping.start);
    if (mapping.start < end || mapping.end <= mapping.start || mapping.end > kHighestAddress)
      return Err("the mapping at {:#x} is out of order or out of bounds", mapping.start);
    end = mapping.end;
  }
  for (const auto& mapping : memory.mappings) {
    if (mapping.protection_key >= kProtectionKeys)
      return Err("the mapping at {:#x} has an impossible protection key", mapping.start);
  }
  return {};
}

Result<void> check_private_pages(const AddressSpace& memory) {
  TRY(check_pages(memory.pages, kHighestAddress));
  auto mapping = memory.mappings.begin();
  for (const auto& run : memory.pages) {  // both are in order
    std::uint64_t at = run.address;
    while (at < run.address + run.count * kPage) {
      while (mapping != memory.mappings.end() && mapping->end <= at) ++mapping;
      if (mapping == memory.mappings.end() || mapping->start > at || mapping->shared)
        return Err("pages at {:#x} lie in no private mapping", at);
      at = mapping->end;
    }
  }
  return {};
}

void forget_identity(Mapping& mapping, RenumberedFiles& kept) {
  // Known to the kernel, or shown by it, only from some version on; or a matter of taste.
  std::erase_if(mapping.flags, [](const auto& flag) { return flag == "dp" || flag == "gu" || flag == "lf"; });
  if (mapping.kind == MappingKind::unlinked || mapping.kind == MappingKind::memfd ||
      mapping.kind == MappingKind::shared_memory)
    kept.forget(mapping.name, mapping.device, mapping.inode);
  else if (mapping.kind == MappingKind::segment)
    mapping.device = 0;
  else
    forget_volatile_inode(mapping.device, mapping.inode);
}

// Flags that say what kind of object is mapped: how its file system, or its driver, lets it be mapped.
void forget_flags_of_the_object(Mapping& mapping) {
  constexpr std::array kOfTheObject = {"de", "mm", "io", "pf"};
  std::erase_if(mapping.flags, [&](const std::string& flag) {
    return std::ranges::find(kOfTheObject, flag) != kOfTheObject.end();
  });
  // In 6.12 it may be made executable, in 7.3 no more.
  if (mapping.kind == MappingKind::io_uring) std::erase(mapping.flags, "me");
}

// What it takes least to find out, of what has to be the same.
bool may_continue(const Mapping& last, const Mapping& next) {
  return last.end == next.start && last.protection() == next.protection() && last.inode == next.inode &&
         last.shared == next.shared;
}

// The kernel merges neighbours that are alike, which depends on how they came about.
void merge_mappings(AddressSpace& memory) {
  std::vector<Mapping> merged;
  merged.reserve(memory.mappings.size());
  for (auto& mapping : memory.mappings) {
    if (!merged.empty() && may_continue(merged.back(), mapping)) {
      auto& last = merged.back();
      const bool anonymous = last.kind == MappingKind::anonymous;
      const bool same_object = anonymous || last.offset + last.length() == mapping.offset;
      auto continued = mapping;
      continued.start = last.start, continued.end = last.end, continued.offset = last.offset;
      if (anonymous) continued.name = last.name;
      if (same_object && continued == last) {
        last.end = mapping.end;
        continue;
      }
    }
    merged.push_back(std::move(mapping));
  }
  memory.mappings = std::move(merged);
}

// Where one of the two kernels, or its processor, has no protection keys, that is none of the tasks' doing.
void forget_keys(AddressSpace& memory, const AddressSpace& other) {
  if (memory.protection_keys != 0 && other.protection_keys != 0) return;
  memory.protection_keys = 0;
  for (auto& mapping : memory.mappings) mapping.protection_key = 0;
}

}  // namespace

Result<void> validate(const AddressSpace& memory, const KnownObjects& known) {
  TRY(check_mappings(memory));
  TRY(check_keys(memory));
  TRY(check_guards(memory.guards));
  TRY(check_private_pages(memory));
  if (memory.executable_inode != 0 &&
      !known.kept_files.contains({memory.executable_device, memory.executable_inode}))
    return Err("its program is not part of the snapshot");
  return {};
}

void make_comparable(AddressSpace& value, const AddressSpace* other, Comparison& comparison) {
  auto& kept = comparison.kept_files;
  if (other != nullptr) forget_keys(value, *other);
  kept.forget(value.executable, value.executable_device, value.executable_inode);
  for (auto& mapping : value.mappings) {
    forget_flags_of_the_object(mapping);
    const auto ring = mapping.kind == MappingKind::io_uring ? comparison.rings(mapping.inode) : 0;
    forget_identity(mapping, kept);
    if (ring != 0) mapping.inode = ring;
  }
  merge_mappings(value);
  value.pages.clear();
  value.contents.clear();
  for (auto& mapping : value.mappings) {
    if (mapping.kind == MappingKind::anonymous) mapping.name.clear(), mapping.offset = 0;
  }
}

}  // namespace upkeep::engine
