#pragma once
// Files that no path leads to: their contents are part of the snapshot.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"
#include "engine/model/memory/mapping.h"
#include "engine/model/memory/pages.h"

namespace upkeep::engine {

// System V shared memory, shmget(2). Its ID is the inode of the file.
struct Segment {
  std::int32_t key = 0;
  std::uint32_t creator_uid = 0, creator_gid = 0;
  bool removed = false;  // IPC_RMID: it goes away with its last user
  bool operator==(const Segment&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("key", self.key);
    visit("creator_uid", self.creator_uid);
    visit("creator_gid", self.creator_gid);
    visit("removed", self.removed);
  }
};

// One inode, whoever has it open or mapped; known by st_dev and st_ino.
struct KeptFile {
  KeptKind kind = KeptKind::none;
  std::uint64_t device = 0, inode = 0;
  std::string name;        // of a memfd; the path that an unlinked file had
  std::uint64_t size = 0;  // bytes
  std::uint32_t mode = 0;  // permissions
  std::uint32_t uid = 0, gid = 0;
  std::int64_t modified = 0;  // st_mtim in nanoseconds
  std::uint32_t seals = 0;    // F_GET_SEALS of a memfd
  std::optional<Segment> segment;
  std::vector<PageRun> pages;   // addresses are positions in the file
  std::uint64_t huge_page = 0;  // Mapping::huge_page
  bool operator==(const KeptFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("kind", self.kind);
    visit("device", self.device);
    visit("inode", self.inode);
    visit("name", self.name);
    visit("size", self.size);
    visit("mode", self.mode);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("modified", self.modified);
    visit("seals", self.seals);
    visit("segment", self.segment);
    visit("pages", self.pages);
    visit("huge_page", self.huge_page);
  }
};

inline std::string title_of(const KeptFile& kept, std::size_t) {
  return fmt::format("kept file {}", kept.inode);
}
Result<void> validate(const std::vector<KeptFile>& files, const KnownObjects& known);
Result<void> validate(const KeptFile& kept, const KnownObjects& known);
void make_comparable(KeptFile& value, const KeptFile* other, Comparison& comparison);

}  // namespace upkeep::engine
