#pragma once
// One address space: what is mapped where, and which pages have contents of their own.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"
#include "engine/model/memory/mapping.h"
#include "engine/model/memory/pages.h"

namespace upkeep::engine {

// Pages that end a task which touches them: MADV_GUARD_INSTALL of madvise(2), 6.13.
struct GuardRegion {
  std::uint64_t start = 0, end = 0;
  bool operator==(const GuardRegion&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("start", self.start);
    visit("end", self.end);
  }
};

// Where the kernel believes code, data, heap, arguments and environment to be: prctl(2), PR_SET_MM_MAP.
struct Layout {
  std::uint64_t start_code = 0, end_code = 0, start_data = 0, end_data = 0, start_brk = 0, brk = 0,
                start_stack = 0, arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
  Bytes auxv;
  bool operator==(const Layout&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("start_code", self.start_code);
    visit("end_code", self.end_code);
    visit("start_data", self.start_data);
    visit("end_data", self.end_data);
    visit("start_brk", self.start_brk);
    visit("brk", self.brk);
    visit("start_stack", self.start_stack);
    visit("arg_start", self.arg_start);
    visit("arg_end", self.arg_end);
    visit("env_start", self.env_start);
    visit("env_end", self.env_end);
    visit("auxv", self.auxv);
  }
};

// Bytes that lie in private memory instead of what `pages` say. Made while a tree is rebuilt; no document has
// them.
struct Contents {
  std::uint64_t address = 0;
  std::vector<std::byte> bytes;
  bool operator==(const Contents&) const = default;
};

struct AddressSpace {
  std::string executable;                                     // path
  std::uint64_t executable_device = 0, executable_inode = 0;  // where it is a kept file; else 0
  std::vector<Mapping> mappings;                              // ascending
  std::vector<PageRun> pages;                                 // ascending; only of private mappings
  std::vector<GuardRegion> guards;                            // ascending
  std::vector<Contents> contents;
  Layout layout;
  // One bit for each that can be used, the lowest one for key 0, which everybody has; 0: the processor has
  // none.
  std::uint32_t protection_keys = 0;
  std::uint64_t vdso_checksum = 0;  // of the code pages; 0 where none is mapped
  bool has_allocated(std::uint32_t key) const { return (protection_keys >> key & 1U) != 0; }
  // The key that the kernel has taken for execute-only memory, which nobody else can use; 0: it has taken
  // none, or there is no such memory any more.
  std::uint32_t execute_only_key() const {
    for (const auto& mapping : mappings) {
      const auto key = mapping.protection_key;
      if (mapping.execute_only() && key != 0 && !has_allocated(key)) return key;
    }
    return 0;
  }
  bool operator==(const AddressSpace&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("executable", self.executable);
    visit("executable_device", self.executable_device);
    visit("executable_inode", self.executable_inode);
    visit("mappings", self.mappings);
    visit("pages", self.pages);
    visit("guards", self.guards);
    visit("layout", self.layout);
    visit("protection_keys", self.protection_keys);
    visit("vdso_checksum", self.vdso_checksum);
  }
};

Result<void> validate(const AddressSpace& address_space, const KnownObjects& known);
// Neighbours that are alike are merged: the kernel does, which depends on how they came about.
void make_comparable(AddressSpace& value, const AddressSpace* other, Comparison& comparison);

}  // namespace upkeep::engine
