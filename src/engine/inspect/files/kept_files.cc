#include "engine/inspect/files/kept_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/inspect/calls/proc_text.h"
#include "engine/inspect/memory/page_collector.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr int kGetSeals = 1034;                       // F_GET_SEALS of linux/fcntl.h
constexpr std::uint64_t kMostUnlinked = 4ULL << 30U;  // bytes on disk; more takes too long to copy

std::string without_suffix(std::string name) {
  if (name.ends_with(kDeleted)) name.resize(name.size() - kDeleted.size());
  return name;
}

// One use of a file: a mapping or a descriptor.
struct Use {
  pid_t pid = 0;
  std::string what;  // for people
  std::string link;  // in /proc
  std::string name;  // as the kernel shows it
  KeptKind kind = KeptKind::none;
};

class KeptFileReader {
 public:
  KeptFileReader(Snapshot& snapshot, const PageRequest& request, Look tasks)
      : snapshot_(snapshot), request_(request), tasks_(tasks) {}

  // STATUS: of the file, to be filled in. False: it is gone, which only happens to tasks that run.
  Result<bool> read(const Use& use, struct stat& status) {
    if (::stat(use.link.c_str(), &status) < 0) {
      if (!stand_still(tasks_)) return false;
      return ErrnoErr("stat {}", use.link);
    }
    if (!known_.emplace(status.st_dev, status.st_ino).second) return true;
    KeptFile kept;
    kept.kind = use.kind;
    kept.device = status.st_dev;
    kept.inode = status.st_ino;
    kept.size = static_cast<std::uint64_t>(status.st_size);
    kept.mode = status.st_mode & 07777U;
    kept.uid = status.st_uid;
    kept.gid = status.st_gid;
    kept.modified = static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
    if (kept.kind != KeptKind::unlinked) kept.modified = 0;  // making it again changes it
    TRY_ASSIGN(const bool readable, look_at(use, status, kept));
    TRY_ASSIGN(kept.huge_page, huge_page_of(use));
    // All of its pages are there: they are again afterwards, also where there is nothing in them.
    all_there_ = static_cast<std::uint64_t>(status.st_blocks) * 512 >= kept.size;
    if (readable && stand_still(tasks_) && request_.runs) {
      TRY_ASSIGN(const auto file, os::open_file(use.link, O_RDONLY | O_NOCTTY));
      TRY_IN(use.what, read_contents(file, kept));
    }
    snapshot_.kept_files.push_back(std::move(kept));
    return true;
  }

 private:
  void refuse(const Use& use, std::string why, std::string remedy = "") {
    snapshot_.obstacles.push_back({use.pid, use.what, std::move(why), std::move(remedy)});
  }

  // What belongs to its kind. False: its contents cannot be kept, and why has been said.
  Result<bool> look_at(const Use& use, const struct stat& status, KeptFile& kept) {
    if (kept.kind == KeptKind::segment) return look_at_segment(use, kept);
    if (kept.kind == KeptKind::memfd) return look_at_memfd(use, kept);
    if (kept.kind != KeptKind::unlinked) return true;
    kept.name = without_suffix(use.name);
    if (!S_ISREG(status.st_mode)) {
      refuse(use, "what it leads to has been removed", "restart the program, so that it opens it anew");
      return false;
    }
    if (status.st_nlink != 0) {
      refuse(use, "its file has been renamed away, and nothing tells its other name",
             "restart the program, so that it opens the file anew");
      return false;
    }
    if (static_cast<std::uint64_t>(status.st_blocks) * 512 > kMostUnlinked) {
      refuse(use,
             fmt::format("its file has been removed, and {} bytes are too much to keep",
                         static_cast<std::uint64_t>(status.st_blocks) * 512),
             "restart the program, so that it opens the file anew");
      return false;
    }
    return true;
  }

  Result<bool> look_at_memfd(const Use& use, KeptFile& kept) {
    constexpr std::string_view kPrefix = "/memfd:";
    kept.name = without_suffix(use.name).substr(kPrefix.size());
    auto file = os::open_file(use.link, O_RDONLY);
    if (!file && !stand_still(tasks_)) return false;
    if (!file) return tl::unexpected(std::move(file).error());
    const int seals = ::fcntl(file->get(), kGetSeals);
    if (seals < 0) {
      refuse(use, "its seals cannot be read");
      return false;
    }
    kept.seals = static_cast<std::uint32_t>(seals);
    return true;
  }

  Result<bool> look_at_segment(const Use& use, KeptFile& kept) {
    const auto its = os::namespace_id(use.pid, "ipc"), ours = os::namespace_id(::getpid(), "ipc");
    shmid_ds about = {};
    if (!its || !ours || *its != *ours || ::shmctl(static_cast<int>(kept.inode), IPC_STAT, &about) < 0) {
      if (stand_still(tasks_)) refuse(use, "nothing can be learned about this System V segment");
      return false;
    }
    constexpr unsigned kRemoved = 01000;  // SHM_DEST of linux/shm.h
    kept.size = about.shm_segsz;
    kept.mode = about.shm_perm.mode & 0777U;
    kept.uid = about.shm_perm.uid;
    kept.gid = about.shm_perm.gid;
    kept.modified = 0;
    kept.segment = Segment{about.shm_perm.__key, about.shm_perm.cuid, about.shm_perm.cgid,
                           (about.shm_perm.mode & kRemoved) != 0};
    return true;
  }

  // 0: its file is of no huge page pool.
  Result<std::uint64_t> huge_page_of(const Use& use) const {
    struct statfs system = {};
    if (::statfs(use.link.c_str(), &system) < 0) {
      if (!stand_still(tasks_)) return 0U;
      return ErrnoErr("statfs {}", use.link);
    }
    return system.f_type == HUGETLBFS_MAGIC ? static_cast<std::uint64_t>(system.f_bsize) : 0U;
  }

  // Holes stay holes: reading one of a tmpfs would take memory. The end of the last page reads as zero, but
  // for one of a segment that consists of huge pages: all of it is the program's. Holes of a huge page pool
  // cost nothing to read, and read as zeros.
  Result<void> read_contents(os::Fd file, KeptFile& kept) const {
    PageCollector collector(kept.pages, request_.sink);
    std::vector<std::byte> buffer(1U << 20U);
    const auto page = std::max(kept.huge_page, kPage);
    const auto size =
        static_cast<off_t>(kept.huge_page == 0 ? kept.size : (kept.size + page - 1) / page * page);
    for (off_t at = ::lseek(file.get(), 0, SEEK_DATA); at >= 0 && at < size;
         at = ::lseek(file.get(), at, SEEK_DATA)) {
      at -= at % static_cast<off_t>(kPage);
      off_t end = std::min(::lseek(file.get(), at, SEEK_HOLE), size);
      if (end <= at) end = size;
      while (at < end) {
        const auto length = std::min(buffer.size(), static_cast<std::size_t>(end - at));
        const auto whole = (length + kPage - 1) / kPage * kPage;
        std::fill(buffer.begin() + static_cast<std::ptrdiff_t>(length),
                  buffer.begin() + static_cast<std::ptrdiff_t>(whole), std::byte{0});
        TRY(os::pread_all(file, std::span(buffer).first(length), at));
        TRY(collector.add(static_cast<std::uint64_t>(at), std::span(buffer).first(whole), true,
                          all_there_ ? kept.huge_page : 0));
        at += static_cast<off_t>(whole);
      }
    }
    return {};
  }

  Snapshot& snapshot_;
  const PageRequest& request_;
  Look tasks_;
  bool all_there_ = false;
  std::set<std::pair<std::uint64_t, std::uint64_t>> known_;
};

// Only whole segments can be attached: shmat(2).
void look_for_parts(const Process& process, Snapshot& snapshot) {
  const Mapping* last = nullptr;
  auto refuse = [&](const Mapping& mapping) {
    snapshot.obstacles.push_back({process.pid, fmt::format("mapping {:x} {}", mapping.start, mapping.name),
                                  "only a part of the System V segment is attached", ""});
  };
  auto whole = [&](const Mapping& mapping) {
    const auto* kept = snapshot.kept_file(mapping.device, mapping.inode);
    return kept == nullptr || mapping.offset + mapping.length() >= kept->size;
  };
  for (const auto& mapping : process.memory.mappings) {
    const bool continues = last != nullptr && mapping.kind == MappingKind::segment &&
                           mapping.inode == last->inode && mapping.start == last->end &&
                           mapping.offset == last->offset + last->length();
    if (last != nullptr && !continues && !whole(*last)) refuse(*last);
    if (mapping.kind == MappingKind::segment && !continues && mapping.offset != 0) refuse(mapping);
    last = mapping.kind == MappingKind::segment ? &mapping : nullptr;
  }
  if (last != nullptr && !whole(*last)) refuse(*last);
}

// Segments that somebody outside the tree has attached too would not be the same memory afterwards.
void look_for_outside_users(Snapshot& snapshot) {
  std::map<std::uint64_t, std::size_t> attached;  // by ID
  for (const auto& process : snapshot.processes) {
    for (const auto& mapping : process.memory.mappings) {
      if (mapping.kind == MappingKind::segment) ++attached[mapping.inode];
    }
  }
  std::set<std::uint64_t> wanted;
  for (const auto& [id, count] : attached) {
    shmid_ds about = {};
    if (::shmctl(static_cast<int>(id), IPC_STAT, &about) == 0 && about.shm_nattch > count) wanted.insert(id);
  }
  if (wanted.empty()) return;
  for (pid_t pid : os::list_processes().value_or(std::vector<pid_t>())) {
    if (snapshot.find(pid) != nullptr) continue;
    auto text = os::read_file(fmt::format("/proc/{}/maps", pid));
    auto mappings = text ? parse_maps(*text) : Result<std::vector<Mapping>>(std::vector<Mapping>());
    if (!mappings) continue;
    for (const auto& mapping : *mappings) {
      if (mapping.kind != MappingKind::segment || wanted.erase(mapping.inode) == 0) continue;
      snapshot.obstacles.push_back(
          {snapshot.processes.front().pid, fmt::format("System V segment {}", mapping.inode),
           fmt::format("process {} ({}), which is not part of the tree, has attached it too", pid,
                       os::command_line(pid)),
           "carry that process too"});
    }
  }
}

// A descriptor on its way through a socket is nobody's yet, and the only one to lead to its file.
void look_for_those_in_flight(Snapshot& snapshot) {
  for (std::uint32_t i = 0; i < snapshot.files.size(); ++i) {
    const auto& file = snapshot.files[i];
    if (file.kind == FileKind::kept && snapshot.kept_file(file.path->device, file.path->inode) == nullptr)
      snapshot.obstacles.push_back({0, descriptor_title(-1, file.name),
                                    "nobody else has its file, whose contents are not copied from there",
                                    "try again when it has been received"});
  }
}

}  // namespace

Result<void> read_kept_files(Snapshot& snapshot, const PageRequest& request, Look tasks) {
  KeptFileReader reader(snapshot, request, tasks);
  for (auto& process : snapshot.processes) {
    for (auto& mapping : process.memory.mappings) {
      if (!mapping.of_kept_file()) continue;
      const auto range = fmt::format("{:x}-{:x}", mapping.start, mapping.end);
      struct stat status = {};
      TRY_ASSIGN(const bool there,
                 reader.read({process.pid, fmt::format("mapping {} {}", range, mapping.name),
                              fmt::format("/proc/{}/map_files/{}", process.pid, range), mapping.name,
                              kept_kind(mapping.kind)},
                             status));
      // What maps shows as the device is not always what stat(2) says (btrfs, overlayfs).
      if (there) mapping.device = status.st_dev, mapping.inode = status.st_ino;
    }
    for (const auto& descriptor : process.descriptors) {
      auto& file = snapshot.files[descriptor.file];
      if (file.kind != FileKind::kept) continue;
      struct stat status = {};
      TRY(reader.read(
          {process.pid, descriptor_title(descriptor.fd, file.name),
           fmt::format("/proc/{}/fd/{}", process.pid, descriptor.fd), file.name, kept_kind(file.name)},
          status));
    }
    if (process.memory.executable.ends_with(kDeleted)) {
      struct stat status = {};
      TRY_ASSIGN(const bool there,
                 reader.read({process.pid, "program " + process.memory.executable,
                              fmt::format("/proc/{}/exe", process.pid), process.memory.executable,
                              kept_kind(process.memory.executable)},
                             status));
      if (there)
        process.memory.executable_device = status.st_dev, process.memory.executable_inode = status.st_ino;
    }
    look_for_parts(process, snapshot);
  }
  look_for_outside_users(snapshot);
  look_for_those_in_flight(snapshot);
  return {};
}

}  // namespace upkeep::engine
