#include "engine/rebuild/files/kept_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <filesystem>

#include "engine/rebuild/files/shared_segments.h"
#include "os/file.h"
#include "os/huge_pages.h"

namespace upkeep::engine {
namespace {

// linux/fcntl.h and linux/memfd.h
constexpr int kAddSeals = 1033;
constexpr std::uint32_t kSealExec = 0x20;  // F_SEAL_EXEC, 6.3
constexpr unsigned kNoExecSeal = 8, kExec = 16;

Result<os::UniqueFd> make_shared_memory(const KeptFile& kept) {
  const int huge = kept.huge_page == 0 ? 0 : MAP_HUGETLB | os::huge_page_size_flags(kept.huge_page);
  void* view = ::mmap(nullptr, kept.size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | huge, -1, 0);
  if (view == MAP_FAILED) return ErrnoErr("mmap {} bytes of shared memory", kept.size);
  const auto start = reinterpret_cast<std::uintptr_t>(view);
  const auto end = start + (kept.size + kPage - 1) / kPage * kPage;
  auto file = os::open_file(fmt::format("/proc/self/map_files/{:x}-{:x}", start, end), O_RDWR);
  ::munmap(view, kept.size);
  return file;
}

Result<os::UniqueFd> make_memfd(const KeptFile& kept) {
  const bool no_exec = (kept.seals & kSealExec) != 0;
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (kept.huge_page != 0)
    flags |= MFD_HUGETLB | static_cast<unsigned>(os::huge_page_size_flags(kept.huge_page));
  os::UniqueFd fd(::memfd_create(kept.name.c_str(), flags | (no_exec ? kNoExecSeal : kExec)));
  // Before 6.3 there is neither of the two.
  if (!fd.valid() && errno == EINVAL && !no_exec) fd.reset(::memfd_create(kept.name.c_str(), flags));
  if (!fd.valid()) return ErrnoErr("memfd_create");
  return fd;
}

// In the directory where it was, or the nearest one that is still there: it has to lie on the same file
// system. Under its own name for a moment, which /proc/PID/fd then shows again, unless that is taken.
Result<os::UniqueFd> make_unlinked(const KeptFile& kept) {
  const std::filesystem::path path(kept.name);
  auto directory = path.parent_path();
  while (!os::exists(directory) && directory.has_relative_path()) directory = directory.parent_path();
  if (directory == path.parent_path()) {
    auto fd = os::open_file(kept.name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd && ::unlink(kept.name.c_str()) < 0) return ErrnoErr("unlink {}", kept.name);
    if (fd) return fd;
  }
  auto unnamed = os::open_file(directory, O_TMPFILE | O_RDWR, 0600);
  if (unnamed || unnamed.error().code() != EOPNOTSUPP) return unnamed;
  auto name = (directory / ".upkeep-XXXXXX").string();
  os::UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd.valid()) return ErrnoErr("mkostemp {}", name);
  if (::unlink(name.c_str()) < 0) return ErrnoErr("unlink {}", name);
  return fd;
}

// Its pool has to be as it was: one of another size, or none, is mounted there.
Result<void> lies_in_its_pool(os::Fd file, const KeptFile& kept) {
  struct statfs system = {};
  if (::fstatfs(file.get(), &system) < 0) return ErrnoErr("fstatfs");
  if (system.f_type == HUGETLBFS_MAGIC && static_cast<std::uint64_t>(system.f_bsize) == kept.huge_page)
    return {};
  return Err("no hugetlbfs with pages of {} kB is mounted there", kept.huge_page / 1024);
}

// Files of a huge page pool can be written through mappings only.
Result<void> fill_huge(os::Fd file, const KeptFile& kept, os::Fd pages) {
  TRY(lies_in_its_pool(file, kept));
  if (kept.kind != KeptKind::shared_memory && ::ftruncate(file.get(), static_cast<off_t>(kept.size)) < 0)
    return ErrnoErr("ftruncate");
  if (kept.size == 0) return {};
  void* view = ::mmap(nullptr, kept.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.get(), 0);
  if (view == MAP_FAILED) return ErrnoErr("mmap {} bytes of a huge page pool", kept.size);
  Result<void> filled;
  for (const auto& run : kept.pages) {
    if (filled)
      filled = os::pread_all(pages, std::span(static_cast<std::byte*>(view) + run.address, run.count * kPage),
                             static_cast<off_t>(run.position));
  }
  ::munmap(view, kept.size);
  return filled;
}

Result<void> fill(os::Fd file, const KeptFile& kept, os::Fd pages) {
  if (kept.huge_page != 0) return fill_huge(file, kept, pages);
  for (const auto& run : kept.pages) {
    if (::lseek(file.get(), static_cast<off_t>(run.address), SEEK_SET) < 0) return ErrnoErr("lseek");
    auto position = static_cast<off_t>(run.position);
    for (auto left = run.count * kPage; left > 0;) {
      const auto sent = ::sendfile(file.get(), pages.get(), &position, left);
      if (sent <= 0) return ErrnoErr("filling {} bytes", kept.size);
      left -= static_cast<std::uint64_t>(sent);
    }
  }
  return {};
}

Result<void> set_attributes(os::Fd file, const KeptFile& kept) {
  struct stat status = {};
  if (::fstat(file.get(), &status) < 0) return ErrnoErr("fstat");
  if ((status.st_uid != kept.uid || status.st_gid != kept.gid) &&
      ::fchown(file.get(), kept.uid, kept.gid) < 0)
    return ErrnoErr("fchown");
  if ((status.st_mode & 07777U) != kept.mode && ::fchmod(file.get(), kept.mode) < 0)
    return ErrnoErr("fchmod");
  const timespec time = {kept.modified / 1'000'000'000, kept.modified % 1'000'000'000};
  const timespec times[2] = {time, time};
  if (kept.kind == KeptKind::unlinked && ::futimens(file.get(), times) < 0) return ErrnoErr("futimens");
  return {};
}

Result<os::UniqueFd> make_file(const KeptFile& kept, os::Fd pages) {
  os::UniqueFd file;
  if (kept.kind == KeptKind::shared_memory) {
    TRY_ASSIGN(file, make_shared_memory(kept));
  } else if (kept.kind == KeptKind::memfd) {
    TRY_ASSIGN(file, make_memfd(kept));
  } else if (kept.kind == KeptKind::unlinked) {
    TRY_ASSIGN(file, make_unlinked(kept));
  } else {
    return Err("this version cannot make a '{}'", name_of(kept.kind));
  }
  TRY(fill(file, kept, pages));
  // The size of anonymous memory cannot change; whole pages may have been written behind the end of a file.
  if (kept.kind != KeptKind::shared_memory && kept.huge_page == 0 &&
      ::ftruncate(file.get(), static_cast<off_t>(kept.size)) < 0)
    return ErrnoErr("ftruncate");
  TRY(set_attributes(file, kept));
  return file;
}

}  // namespace

// A program cannot be run while it is open for writing: unlinked files are open for reading only unless more
// is asked for.
struct KeptFiles::Made {
  const KeptFile* kept = nullptr;
  os::UniqueFd read, write;
  std::optional<MadeSegment> segment;
};

KeptFiles::KeptFiles() = default;
KeptFiles::KeptFiles(KeptFiles&&) noexcept = default;
KeptFiles::~KeptFiles() = default;

Result<KeptFiles> KeptFiles::make(const Snapshot& snapshot, const std::string& pages_path) {
  KeptFiles result;
  TRY_ASSIGN(const auto pages, os::open_file(pages_path, O_RDONLY));
  for (const auto& kept : snapshot.kept_files) {
    const auto name =
        fmt::format("{} {}", name_of(kept.kind), kept.name.empty() ? fmt::to_string(kept.inode) : kept.name);
    auto made = std::make_unique<Made>();
    made->kept = &kept;
    if (kept.kind == KeptKind::segment) {
      auto segment = MadeSegment::make(kept, pages);
      if (!segment) return tl::unexpected(std::move(segment).error().in(name));
      made->segment.emplace(std::move(*segment));
    } else {
      auto file = make_file(kept, pages);
      if (!file) return tl::unexpected(std::move(file).error().in(name));
      TRY_ASSIGN(made->read, os::open_file(os::own_descriptor(*file), O_RDONLY | O_NOATIME));
      if (kept.kind != KeptKind::unlinked) made->write = std::move(*file);
    }
    result.made_.emplace(std::pair(kept.device, kept.inode), std::move(made));
  }
  return result;
}

Result<os::UniqueFd> KeptFiles::open(const PathFile& path, std::uint32_t flags) const {
  const auto found = made_.find({path.device, path.inode});
  if (found == made_.end() || !found->second->read.valid())
    return Err("its contents are not part of the snapshot");
  return os::open_file(os::own_descriptor(found->second->read),
                       static_cast<int>(flags) & ~(O_NOFOLLOW | O_DIRECTORY));
}

Result<int> KeptFiles::descriptor(std::uint64_t device, std::uint64_t inode, bool writable) {
  const auto found = made_.find({device, inode});
  if (found == made_.end()) return Err("kept file {} is not part of the snapshot", inode);
  auto& made = *found->second;
  if (made.segment) return -1;  // attached by its ID
  if (writable && !made.write.valid()) {
    TRY_ASSIGN(made.write, os::open_file(os::own_descriptor(made.read), O_RDWR | O_NOATIME));
  }
  return (writable ? made.write : made.read).get();
}

Result<KeptDescriptors> KeptFiles::for_mappings(const Snapshot& snapshot) {
  KeptDescriptors result;
  for (const auto& process : snapshot.processes) {
    const auto& memory = process.memory;
    if (memory.executable_inode != 0) {
      TRY_ASSIGN(const int fd, descriptor(memory.executable_device, memory.executable_inode, false));
      result[{memory.executable_device, memory.executable_inode, false}] = fd;
    }
    for (const auto& mapping : memory.mappings) {
      if (!mapping.of_kept_file()) continue;
      const bool writable = mapping.needs_writable_file();
      TRY_ASSIGN(const int fd, descriptor(mapping.device, mapping.inode, writable));
      result[{mapping.device, mapping.inode, writable}] = fd;
    }
  }
  return result;
}

Result<void> KeptFiles::finish() {
  for (const auto& [key, made] : made_) {
    const auto& kept = *made->kept;
    if (made->segment) TRY(made->segment->finish());
    if (kept.kind == KeptKind::memfd && kept.seals != 0 &&
        ::fcntl(made->write.get(), kAddSeals, kept.seals) < 0)
      return ErrnoErr("sealing memfd {}", kept.name);
  }
  return {};
}

}  // namespace upkeep::engine
