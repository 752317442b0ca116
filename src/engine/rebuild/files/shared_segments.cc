#include "engine/rebuild/files/shared_segments.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include <algorithm>
#include <span>

#include "engine/model/snapshot.h"
#include "engine/rebuild/files/ipc_ids.h"
#include "os/file.h"
#include "os/huge_pages.h"

namespace upkeep::engine {
namespace {

constexpr unsigned kPermissions = 0777;

Result<void> is_the_recorded_one(const KeptFile& kept, const shmid_ds& about) {
  const auto& segment = *kept.segment;
  if ((!segment.removed && about.shm_perm.__key != segment.key) || about.shm_segsz != kept.size ||
      (about.shm_perm.mode & kPermissions) != kept.mode || about.shm_perm.uid != kept.uid ||
      about.shm_perm.gid != kept.gid || about.shm_perm.cuid != segment.creator_uid ||
      about.shm_perm.cgid != segment.creator_gid)
    return Err("another segment has its ID");
  if (about.shm_nattch != 0) return Err("it is still there, and attached {} times", about.shm_nattch);
  return {};
}

int huge_flags(const KeptFile& kept) {
  return kept.huge_page == 0 ? 0 : SHM_HUGETLB | os::huge_page_size_flags(kept.huge_page);
}

Result<void> create(const KeptFile& kept) {
  const auto& segment = *kept.segment;
  return make_with_id({"shm", static_cast<int>(kept.inode), segment.creator_uid, segment.creator_gid,
                       [&] {
                         return ::shmget(
                             segment.removed ? IPC_PRIVATE : segment.key, kept.size,
                             IPC_CREAT | IPC_EXCL | huge_flags(kept) | static_cast<int>(kept.mode));
                       },
                       [](int other) { ::shmctl(other, IPC_RMID, nullptr); }});
}

Result<void> set_owner(const KeptFile& kept) {
  shmid_ds about = {};
  const int id = static_cast<int>(kept.inode);
  if (::shmctl(id, IPC_STAT, &about) < 0) return ErrnoErr("IPC_STAT");
  about.shm_perm.uid = kept.uid;
  about.shm_perm.gid = kept.gid;
  about.shm_perm.mode = static_cast<unsigned short>(kept.mode);
  if (::shmctl(id, IPC_SET, &about) < 0) return ErrnoErr("IPC_SET");
  return {};
}

Result<void> fill(const KeptFile& kept, os::Fd pages, bool used) {
  void* view = ::shmat(static_cast<int>(kept.inode), nullptr, 0);
  if (view == reinterpret_cast<void*>(-1)) return ErrnoErr("shmat");
  Result<void> filled;
  const auto page = std::max(kept.huge_page, kPage);
  if (used && ::madvise(view, (kept.size + page - 1) / page * page, MADV_REMOVE) < 0)
    filled = ErrnoErr("MADV_REMOVE");
  for (const auto& run : kept.pages) {
    if (!filled) break;
    filled = os::pread_all(pages, std::span(static_cast<std::byte*>(view) + run.address, run.count * kPage),
                           static_cast<off_t>(run.position));
  }
  ::shmdt(view);
  return filled;
}

}  // namespace

Result<MadeSegment> MadeSegment::make(const KeptFile& kept, os::Fd pages) {
  MadeSegment made(static_cast<int>(kept.inode), kept.segment->removed);
  shmid_ds about = {};
  const bool there = ::shmctl(made.id_, IPC_STAT, &about) == 0;
  if (there) {
    TRY(is_the_recorded_one(kept, about));
  } else {
    TRY(create(kept));
    made.new_ = true;
    TRY(set_owner(kept));
  }
  TRY(fill(kept, pages, there));
  return made;
}

MadeSegment::~MadeSegment() {
  if (new_) ::shmctl(id_, IPC_RMID, nullptr);
}

Result<void> MadeSegment::finish() {
  if (removed_ && ::shmctl(id_, IPC_RMID, nullptr) < 0) return ErrnoErr("IPC_RMID {}", id_);
  new_ = false;
  return {};
}

}  // namespace upkeep::engine
