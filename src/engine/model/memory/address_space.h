#pragma once
// One address space: what is mapped where, and which pages have contents of their own.

#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/names.h"
#include "engine/model/text.h"

namespace upkeep::engine {

// A file without a path, whose contents are part of the snapshot (KeptFile): anonymous shared memory, a segment of
// System V, a memfd, a regular file whose last name was removed while it was in use.
enum class KeptKind : std::uint8_t { none, shared_memory, segment, memfd, unlinked };
inline constexpr std::array<std::string_view, 5> kKeptKindNames = {"", "shared_memory", "segment", "memfd",
                                                                   "unlinked"};
constexpr const auto& names_of(KeptKind) { return kKeptKindNames; }

// What is mapped; heap and stack are anonymous, vvar pages are of vdso's kind, and which io_uring it is says the
// inode. `other` is what cannot be rebuilt: Mapping::name says what it is. The last four are those of KeptKind.
enum class MappingKind : std::uint8_t {
  other,
  anonymous,
  file,
  vdso,
  vsyscall,
  io_uring,
  shared_memory,
  segment,
  memfd,
  unlinked
};
inline constexpr std::array<std::string_view, 10> kMappingKindNames = {
    "other",    "anonymous",     "file",    "vdso",  "vsyscall",
    "io_uring", "shared_memory", "segment", "memfd", "unlinked"};
constexpr const auto& names_of(MappingKind) { return kMappingKindNames; }
constexpr MappingKind mapping_kind(KeptKind kind) {
  return value_named<MappingKind>(name_of(kind)).value_or(MappingKind::other);
}
constexpr KeptKind kept_kind(MappingKind kind) {
  return value_named<KeptKind>(name_of(kind)).value_or(KeptKind::none);
}

// Addresses and lengths are in bytes, all multiples of the page size.
struct Mapping {
  std::uint64_t start = 0, end = 0;
  bool read = false, write = false, execute = false;
  bool shared = false;
  std::uint64_t offset = 0;  // in the file
  MappingKind kind = MappingKind::other;
  std::string name;                  // as in /proc/PID/maps; the path of a file, undone escapes
  std::uint64_t device = 0;          // of the file, st_dev
  std::uint64_t inode = 0;           // of the file, st_ino
  std::vector<std::string> flags;    // VmFlags of /proc/PID/smaps, without those that prot and sharing say
  std::uint32_t protection_key = 0;  // pkeys(7)
  // Bytes of a page, where its pages are of a pool of huge ones (hugetlbpage.rst); 0: they are not.
  std::uint64_t huge_page = 0;

  std::uint64_t length() const { return end - start; }
  int protection() const {  // as mmap(2) takes it
    return (read ? PROT_READ : 0) | (write ? PROT_WRITE : 0) | (execute ? PROT_EXEC : 0);
  }
  bool execute_only() const { return execute && !read && !write; }
  bool of_kept_file() const { return kind >= MappingKind::shared_memory; }
  // Whether it is to be mapped from a file that is open for writing, too.
  bool needs_writable_file() const {
    return shared && (write || has_flag("mw") || kind == MappingKind::shared_memory);
  }
  bool has_flag(std::string_view flag) const {
    for (const auto& have : flags) {
      if (have == flag) return true;
    }
    return false;
  }
  bool operator==(const Mapping&) const = default;
  std::uint64_t hash() const { return ((start * 31 + end) * 31 + offset) * 31 + inode; }
  static void fields(auto& self, auto& visit) {
    visit("start", self.start);
    visit("end", self.end);
    visit("read", self.read);
    visit("write", self.write);
    visit("execute", self.execute);
    visit("shared", self.shared);
    visit("offset", self.offset);
    visit("kind", self.kind);
    visit("name", self.name);
    visit("device", self.device);
    visit("inode", self.inode);
    visit("flags", self.flags);
    visit("protection_key", self.protection_key);
    visit("huge_page", self.huge_page);
  }
};

// Pages that end a task which touches them: MADV_GUARD_INSTALL of madvise(2), 6.13.
struct GuardRegion {
  std::uint64_t start = 0, end = 0;
  bool operator==(const GuardRegion&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("start", self.start);
    visit("end", self.end);
  }
};

// Pages one after the other, in memory and in the file of page contents.
struct PageRun {
  std::uint64_t address = 0;
  std::uint64_t count = 0;     // pages
  std::uint64_t position = 0;  // bytes, in the file of page contents
  bool operator==(const PageRun&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("address", self.address);
    visit("count", self.count);
    visit("position", self.position);
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

}  // namespace upkeep::engine
