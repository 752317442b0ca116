#pragma once
// One mapping of an address space.

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/names.h"
#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/validation.h"

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

// What is mapped of a ring or of a kept file is there.
Result<void> validate(const Mapping& mapping, const KnownObjects& known);

}  // namespace upkeep::engine
