#include "engine/rebuild/memory/address_space.h"

#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <bit>
#include <unordered_set>

#include "engine/rebuild/calls/restorer_pidfd.h"
#include "engine/tree/inner_ids.h"
#include "os/huge_pages.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

// Descriptors while this goes on: there are no others.
constexpr int kRestorer = 0, kPages = 1, kFile = 2;
#ifndef PR_SET_VMA
constexpr int PR_SET_VMA = 0x53564d41, PR_SET_VMA_ANON_NAME = 0;
#endif
constexpr std::size_t kMostVectors = 1024;  // IOV_MAX

struct Advice {
  const char* flag;
  int advice;
};
constexpr Advice kAdvices[] = {{"sr", MADV_SEQUENTIAL}, {"rr", MADV_RANDOM},   {"dc", MADV_DONTFORK},
                               {"dd", MADV_DONTDUMP},   {"hg", MADV_HUGEPAGE}, {"nh", MADV_NOHUGEPAGE},
                               {"wf", MADV_WIPEONFORK}, {"mg", MADV_MERGEABLE}};

class MemoryCompiler {
 public:
  // COMMON: what is there already; nullptr: that is not known.
  MemoryCompiler(const Process& process, const MemorySources& sources, const MappedAlready* common)
      : process_(process),
        memory_(process.memory),
        sources_(sources),
        common_(common),
        execute_only_key_(process.memory.execute_only_key()),
        filled_(filled_mappings(process.memory)) {}

  Program compile() {
    if (common_ == nullptr) empty();
    begin();
    set_layout(common_ == nullptr);  // else it has the right program already
    allocate_keys(execute_only_key_);
    map_rings();
    for (std::size_t i = 0; i < process_.memory.mappings.size(); ++i) {
      if (!is_there(process_.memory.mappings[i])) map(i);
    }
    close_file();
    map_vdso();
    read_pages();
    write_contents();
    for (const auto& mapping : process_.memory.mappings) protect(mapping);
    set_keys();
    for (const auto& guard : process_.memory.guards)
      program_.call(SYS_madvise, {guard.start, guard.end - guard.start, os::kMadvGuardInstall});
    for (const auto& mapping : process_.memory.mappings) lock(mapping);
    if (process_.stopped && process_.stopped->locks_future != 0)
      program_.call(SYS_mlockall, {process_.stopped->locks_future});
    end();
    return std::move(program_);
  }

  Program compile_common() {
    empty();
    begin();
    set_layout(true);
    for (const auto& mapping : process_.memory.mappings) {
      if (is_there(mapping)) map_file_or_memory(mapping, common_->at(mapping.start));
    }
    close_file();
    end();
    return std::move(program_);
  }

 private:
  // All but the arena.
  void empty() {
    program_.call(SYS_munmap, {0, sources_.keep_start});
    program_.call(SYS_munmap, {sources_.keep_end, kHighestAddress - sources_.keep_end});
  }
  void begin() {
    open_restorer(program_, process_, sources_.restorer);            // kRestorer
    program_.call(SYS_pidfd_getfd, {kRestorer, sources_.pages, 0});  // kPages
  }
  void end() {
    program_.call(SYS_close_range, {kPages, ~0U, 0});
    close_restorer(program_, process_);
  }

  bool is_there(const Mapping& mapping) const {
    return common_ != nullptr && common_->contains(mapping.start);
  }

  // Whether it has another key than mmap(2) and mprotect(2) give it.
  bool has_own_key(const Mapping& mapping) const {
    if (memory_.protection_keys == 0) return false;
    const auto usual = mapping.execute_only() ? execute_only_key_ : 0;
    return mapping.protection_key != usual || (mapping.execute_only() && usual == 0);
  }

  // The lowest ones below END that are not there yet. Each new key is the lowest free one: the kernel takes
  // its own for execute-only memory where all below that one are taken.
  void allocate_keys(std::uint32_t end) {
    for (; next_key_ < end; ++next_key_) program_.call(SYS_pkey_alloc, {0, 0});
  }

  // Rights are inherited from whoever made the process: all. Until here nobody has used memory without them.
  void set_keys() {
    if (memory_.protection_keys == 0) return;
    if (execute_only_key_ != 0) next_key_ = execute_only_key_ + 1;
    allocate_keys(static_cast<std::uint32_t>(std::bit_width(memory_.protection_keys)));
    for (const auto& mapping : memory_.mappings) {
      if (has_own_key(mapping) && mapping.kind != MappingKind::vdso && mapping.kind != MappingKind::vsyscall)
        program_.call(SYS_pkey_mprotect,
                      {mapping.start, mapping.length(), mapping.protection(), mapping.protection_key});
    }
    for (std::uint32_t key = 0; key < next_key_; ++key) {
      if (!memory_.has_allocated(key) && key != execute_only_key_) program_.call(SYS_pkey_free, {key});
    }
  }

  // Pages are read into memory that has to be writable for that.
  int first_protection(const Mapping& mapping) const {
    if (is_there(mapping)) return common_->at(mapping.start);
    if (mapping.kind == MappingKind::segment)
      return PROT_READ | (mapping.needs_writable_file() ? PROT_WRITE : 0) |
             (segment_executes_ ? PROT_EXEC : 0);
    const bool later = mapping.execute_only() && has_own_key(mapping);  // else it would get another one
    return (later ? 0 : mapping.protection()) |
           (filled_.contains(mapping.start) ? PROT_READ | PROT_WRITE : 0);
  }

  // The file of the mappings that follow, as descriptor kFile.
  void open_file(const Mapping& mapping) {
    const bool writable = mapping.needs_writable_file();
    const auto key = fmt::format("{} {}", writable, mapping.name);
    if (open_ == key) return;
    close_file();
    program_.call(SYS_open, {program_.text(mapping.name), (writable ? O_RDWR : O_RDONLY) | O_NONBLOCK});
    open_ = key;
  }
  void close_file() {
    if (!open_.empty()) program_.call(SYS_close, {kFile});
    open_.clear();
  }

  void take(std::uint64_t device, std::uint64_t inode, bool writable) {
    const auto key = fmt::format("kept {} {} {}", device, inode, writable);
    if (open_ == key) return;
    close_file();
    program_.call(SYS_pidfd_getfd, {kRestorer, sources_.kept.at({device, inode, writable}), 0});
    open_ = key;
  }

  void map(std::size_t index) {
    const auto& mapping = process_.memory.mappings[index];
    if (mapping.kind == MappingKind::vdso || mapping.kind == MappingKind::vsyscall) return;
    if (mapping.kind == MappingKind::segment) {
      attach(index);
    } else if (mapping.kind != MappingKind::io_uring) {
      map_file_or_memory(mapping, first_protection(mapping));
    }
    for (const auto& [flag, advice] : kAdvices) {
      if (mapping.has_flag(flag)) program_.call(SYS_madvise, {mapping.start, mapping.length(), advice});
    }
    name(mapping);
  }

  void map_file_or_memory(const Mapping& mapping, int with_protection) {
    int flags = MAP_FIXED_NOREPLACE | (mapping.shared ? MAP_SHARED : MAP_PRIVATE);
    if (mapping.has_flag("nr")) flags |= MAP_NORESERVE;
    if (mapping.has_flag("gd")) flags |= MAP_GROWSDOWN;
    // Where it is unknown memory is never dropped, which the program does not notice.
    if (mapping.has_flag("dp") && sources_.droppable)
      flags = (flags & ~(MAP_PRIVATE | MAP_NORESERVE)) | os::kMapDroppable;
    int fd = kFile;
    if (mapping.kind == MappingKind::anonymous) {
      flags |= MAP_ANONYMOUS;
      if (mapping.huge_page != 0) flags |= MAP_HUGETLB | os::huge_page_size_flags(mapping.huge_page);
      fd = -1;
    } else if (mapping.kind == MappingKind::file) {
      open_file(mapping);
    } else {
      take(mapping.device, mapping.inode, mapping.needs_writable_file());
    }
    program_.call(SYS_mmap,
                  {mapping.start, mapping.length(), with_protection, flags, fd, fd < 0 ? 0 : mapping.offset});
  }

  // The memory of an io_uring. The kernel takes no wish where it shall lie (EINVAL, 6.5 on), but has no
  // choice where there is only one gap: nothing else is mapped yet, and all the rest is filled until they are
  // there.
  void map_rings() {
    std::vector<const Mapping*> rings;
    for (const auto& mapping : process_.memory.mappings) {
      if (mapping.kind == MappingKind::io_uring) rings.push_back(&mapping);
    }
    if (rings.empty()) return;
    constexpr std::uint64_t kLowest = 65536;  // vm.mmap_min_addr: below it, with a privilege only
    const auto fill = [&](std::uint64_t start, std::uint64_t end) {
      program_.call(SYS_mmap, {start, end - start, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0});
    };
    program_.try_call(SYS_mmap, {kPage, kLowest - kPage, PROT_NONE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0});
    fill(kLowest, sources_.keep_start);
    fill(sources_.keep_end, kHighestAddress);
    for (const auto* ring : rings) {
      take(ring->device, ring->inode, ring->needs_writable_file());
      program_.call(SYS_munmap, {ring->start, ring->length()});
      program_.call(SYS_mmap, {0, ring->length(), ring->protection(), MAP_SHARED, kFile, ring->offset});
    }
    close_file();
    std::uint64_t from = kPage;
    const auto empty = [&](std::uint64_t to) {
      if (to > from) program_.call(SYS_munmap, {from, to - from});
    };
    const auto leave = [&](std::uint64_t start, std::uint64_t end) {
      empty(start);
      from = end;
    };
    bool kept = false;
    for (const auto* ring : rings) {
      if (!kept && ring->start > sources_.keep_start)
        leave(sources_.keep_start, sources_.keep_end), kept = true;
      leave(ring->start, ring->end);
    }
    if (!kept) leave(sources_.keep_start, sources_.keep_end);
    empty(kHighestAddress);
  }

  // A segment is attached whole; pieces of it that differ are mapped one behind the other.
  void attach(std::size_t index) {
    const auto& mappings = process_.memory.mappings;
    const auto& first = mappings[index];
    if (first.offset != 0) return;
    bool executes = false;
    for (auto i = index; i < mappings.size() && mappings[i].kind == MappingKind::segment &&
                         mappings[i].inode == first.inode && (i == index || mappings[i].offset != 0);
         ++i)
      executes = executes || mappings[i].execute;
    segment_executes_ = executes;
    const int flags = (first.needs_writable_file() ? 0 : SHM_RDONLY) | (executes ? SHM_EXEC : 0);
    program_.call(SYS_shmat, {first.inode, first.start, flags});
  }

  // For people: a kernel may not know names.
  void name(const Mapping& mapping) {
    for (const std::string_view prefix : {"[anon:", "[anon_shmem:"}) {
      const std::string_view text = mapping.name;
      if (!text.starts_with(prefix)) continue;
      const auto name = text.substr(prefix.size(), text.size() - prefix.size() - 1);
      program_.try_call(SYS_prctl, {PR_SET_VMA, PR_SET_VMA_ANON_NAME, mapping.start, mapping.length(),
                                    program_.text(name)});
    }
  }

  // This kernel's own: another one's has been made ordinary memory by for_this_kernel(). Code and data are
  // laid out as in every process.
  void map_vdso() {
    const auto& mappings = process_.memory.mappings;
    const auto first = std::find_if(mappings.begin(), mappings.end(),
                                    [](const auto& m) { return m.kind == MappingKind::vdso; });
    if (first != mappings.end()) program_.call(SYS_arch_prctl, {os::kArchMapVdso64, first->start});
  }

  void read_pages() {
    std::vector<iovec> vectors;
    std::uint64_t position = 0, end = 0;
    auto flush = [&] {
      if (vectors.empty()) return;
      const auto place = program_.bytes(std::as_bytes(std::span(vectors)));
      program_.call(SYS_preadv, {kPages, place, vectors.size(), position, 0});
      vectors.clear();
    };
    constexpr std::uint64_t kMost = 1ULL << 30U;  // one call reads less than 2 GiB
    for (const auto& run : process_.memory.pages) {
      for (std::uint64_t done = 0, length = run.count * kPage; done < length;) {
        const auto piece = std::min(length - done, kMost);
        if (run.position + done != end || vectors.size() == kMostVectors || end - position + piece > kMost)
          flush();
        if (vectors.empty()) position = end = run.position + done;
        vectors.push_back({reinterpret_cast<void*>(run.address + done), piece});
        end += piece;
        done += piece;
      }
    }
    flush();
  }

  void write_contents() {
    for (const auto& contents : process_.memory.contents) {
      const auto bytes = program_.bytes(contents.bytes);
      const auto from = program_.value(iovec{nullptr, contents.bytes.size()});
      program_.pointer(from, offsetof(iovec, iov_base), bytes);
      const auto to = program_.value(iovec{reinterpret_cast<void*>(contents.address), contents.bytes.size()});
      program_.call(SYS_process_vm_writev, {own_id(process_), from, 1, to, 1, 0});
    }
  }

  void protect(const Mapping& mapping) {
    if (mapping.kind == MappingKind::vdso || mapping.kind == MappingKind::vsyscall || has_own_key(mapping))
      return;
    if (first_protection(mapping) != mapping.protection())
      program_.call(SYS_mprotect, {mapping.start, mapping.length(), mapping.protection()});
  }

  // Where not all pages can be had at once (PROT_NONE) the lock is there, and the answer ENOMEM; whether it
  // is there is compared in the end.
  void lock(const Mapping& mapping) {
    if (!mapping.has_flag("lo")) return;
    const int flags = mapping.has_flag("lf") ? MLOCK_ONFAULT : 0;
    program_.try_call(SYS_mlock2, {mapping.start, mapping.length(), flags});
  }

  void open_executable() {
    const auto& memory = process_.memory;
    if (memory.executable_inode != 0)
      take(memory.executable_device, memory.executable_inode, false);
    else
      program_.call(SYS_open, {program_.text(memory.executable), O_RDONLY});
  }

  // The program can only be replaced before anything is mapped: its file must not be.
  void set_layout(bool sets_executable) {
    const auto& layout = process_.memory.layout;
    if (sets_executable) open_executable();  // kFile
    prctl_mm_map map = {};
    map.start_code = layout.start_code, map.end_code = layout.end_code;
    map.start_data = layout.start_data, map.end_data = layout.end_data;
    map.start_brk = layout.start_brk, map.brk = layout.brk, map.start_stack = layout.start_stack;
    map.arg_start = layout.arg_start, map.arg_end = layout.arg_end;
    map.env_start = layout.env_start, map.env_end = layout.env_end;
    map.auxv_size = static_cast<std::uint32_t>(layout.auxv.data.size());
    map.exe_fd = sets_executable ? kFile : ~0U;
    const auto auxv = program_.bytes(std::as_bytes(std::span(layout.auxv.data)));
    const auto place = program_.value(map);
    program_.pointer(place, offsetof(prctl_mm_map, auxv), auxv);
    program_.call(SYS_prctl, {PR_SET_MM, PR_SET_MM_MAP, place, sizeof map, 0});
    if (sets_executable) program_.call(SYS_close, {kFile});
    open_.clear();
  }

  const Process& process_;
  const AddressSpace& memory_;
  const MemorySources& sources_;
  const MappedAlready* common_;
  std::uint32_t execute_only_key_;
  Program program_;
  std::string open_;                          // which file descriptor kFile is
  std::unordered_set<std::uint64_t> filled_;  // where mappings with pages start
  bool segment_executes_ = false;             // the one that was attached last
  std::uint32_t next_key_ = 1;                // the lowest that has not been allocated
};

}  // namespace

Program compile_memory(const Process& process, const MemorySources& sources, const MappedAlready* common) {
  return MemoryCompiler(process, sources, common).compile();
}

Program compile_common_memory(const Process& process, const MemorySources& sources,
                              const MappedAlready& common) {
  return MemoryCompiler(process, sources, &common).compile_common();
}

Program compile_emptying(const RestartableSequence& own_rseq, std::uint64_t keep_start,
                         std::uint64_t keep_end) {
  constexpr std::uint64_t kUnregister = 1;  // RSEQ_FLAG_UNREGISTER
  Program program;
  if (own_rseq.pointer != 0)
    program.call(SYS_rseq, {own_rseq.pointer, own_rseq.size, kUnregister, own_rseq.signature});
  program.call(SYS_munmap, {0, keep_start});
  program.call(SYS_munmap, {keep_end, kHighestAddress - keep_end});
  return program;
}

}  // namespace upkeep::engine
