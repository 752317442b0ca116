// Which pages have contents of their own, and the contents.

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/native/inspect/readers.h"
#include "os/file.h"
#include "os/uapi_supplement.h"

namespace upkeep::native {
namespace {

struct Range {
  std::uint64_t start, end;
};

// PAGEMAP_SCAN walks page tables, so that terabytes that were only reserved cost nothing. Private pages:
// there or swapped out, not the file's own, not the zero page.
Result<std::vector<Range>> scan(os::Fd pagemap, const Mapping& mapping) {
  std::vector<Range> ranges;
  std::array<os::PageRegion, 512> found;
  os::PagemapScan request;
  request.size = sizeof request;
  request.start = mapping.start;
  request.end = mapping.end;
  request.vec = reinterpret_cast<std::uintptr_t>(found.data());
  request.vec_len = found.size();
  request.category_inverted = os::kPageIsFile | os::kPageIsZero;
  request.category_mask = os::kPageIsFile | os::kPageIsZero;
  request.category_anyof_mask = os::kPageIsPresent | os::kPageIsSwapped;
  request.return_mask = os::kPageIsPresent | os::kPageIsSwapped;
  while (request.start < mapping.end) {
    const int count = ::ioctl(pagemap.get(), os::kPagemapScan, &request);
    if (count < 0) return ErrnoErr("PAGEMAP_SCAN");
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      if (!ranges.empty() && ranges.back().end == found[i].start)
        ranges.back().end = found[i].end;
      else
        ranges.push_back({found[i].start, found[i].end});
    }
    if (request.walk_end <= request.start) break;
    request.start = request.walk_end;
  }
  return ranges;
}

// Kernels before 6.7.
Result<std::vector<Range>> read_entries(os::Fd pagemap, const Mapping& mapping) {
  constexpr std::uint64_t kPresentOrSwapped = 3ULL << 62U, kOfFile = 1ULL << 61U;
  std::vector<Range> ranges;
  std::vector<std::uint64_t> entries(8192);
  for (std::uint64_t at = mapping.start; at < mapping.end;) {
    entries.resize(std::min<std::uint64_t>(8192, (mapping.end - at) / kPage));
    TRY(os::pread_all(pagemap, std::as_writable_bytes(std::span(entries)),
                      static_cast<off_t>(at / kPage * sizeof(std::uint64_t))));
    for (auto entry : entries) {
      if ((entry & kPresentOrSwapped) != 0 && (entry & kOfFile) == 0) {
        if (!ranges.empty() && ranges.back().end == at)
          ranges.back().end += kPage;
        else
          ranges.push_back({at, at + kPage});
      }
      at += kPage;
    }
  }
  return ranges;
}

Result<std::vector<Range>> own_pages(os::Fd pagemap, const Mapping& mapping) {
  auto ranges = scan(pagemap, mapping);
  if (ranges || ranges.error().code() != ENOTTY) return ranges;
  return read_entries(pagemap, mapping);
}

bool all_zero(std::span<const std::byte> page) {
  return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

// Hands pages on in long runs; pages that read as zero are left out where nothing else would show through.
class Collector {
 public:
  Collector(std::vector<PageRun>& runs, const InspectRequest& request) : runs_(runs), request_(request) {}

  // BYTES: contents of the pages from ADDRESS on.
  Result<void> add(std::uint64_t address, std::span<const std::byte> bytes, bool skip_zero) {
    for (std::size_t at = 0; at < bytes.size();) {
      auto end = at;
      auto wanted = [&] { return !skip_zero || !all_zero(bytes.subspan(end, kPage)); };
      while (end < bytes.size() && wanted()) end += kPage;
      if (end > at) TRY(add_run(address + at, bytes.subspan(at, end - at)));
      at = end == at ? at + kPage : end;
    }
    return {};
  }

 private:
  Result<void> add_run(std::uint64_t address, std::span<const std::byte> bytes) {
    std::uint64_t position = 0;
    if (request_.sink) {
      TRY_ASSIGN(position, request_.sink(bytes));
    }
    if (!runs_.empty()) {
      auto& last = runs_.back();
      const auto length = last.count * kPage;
      if (last.address + length == address && (!request_.sink || last.position + length == position)) {
        last.count += bytes.size() / kPage;
        return {};
      }
    }
    runs_.push_back({address, bytes.size() / kPage, position});
    return {};
  }
  std::vector<PageRun>& runs_;
  const InspectRequest& request_;
};

}  // namespace

Result<void> read_pages(pid_t pid, AddressSpace& memory, const os::TaskMemory& contents,
                        const InspectRequest& request) {
  if (!request.page_runs) return {};
  TRY_ASSIGN(const auto pagemap, os::open_file(fmt::format("/proc/{}/pagemap", pid), O_RDONLY));
  Collector collector(memory.pages, request);
  std::vector<std::byte> buffer(1U << 20U);
  for (const auto& mapping : memory.mappings) {
    const bool anonymous = mapping.kind == "anonymous";
    if (mapping.shared || (mapping.kind != "file" && !anonymous)) continue;
    TRY_ASSIGN(const auto ranges, own_pages(pagemap, mapping));
    for (const auto& range : ranges) {
      for (auto at = range.start; at < range.end;) {
        const auto piece = std::span(buffer).first(std::min<std::size_t>(buffer.size(), range.end - at));
        TRY_IN(fmt::format("process {}", pid), contents.read(at, piece));
        TRY(collector.add(at, piece, anonymous));
        at += piece.size();
      }
    }
  }
  return {};
}

// Through /proc/PID/map_files the memory itself can be opened, whoever else has it mapped.
Result<void> read_shared_memory(Snapshot& snapshot, const InspectRequest& request) {
  for (const auto& process : snapshot.processes) {
    for (const auto& mapping : process.memory.mappings) {
      if (mapping.kind != "shared_memory") continue;
      const auto known = [&](const SharedMemory& m) { return m.inode == mapping.inode; };
      if (std::any_of(snapshot.shared_memory.begin(), snapshot.shared_memory.end(), known)) continue;
      const auto path = fmt::format("/proc/{}/map_files/{:x}-{:x}", process.pid, mapping.start, mapping.end);
      TRY_ASSIGN(const auto file, os::open_file(path, O_RDONLY));
      struct stat status = {};
      if (::fstat(file.get(), &status) < 0) return ErrnoErr("fstat {}", path);
      auto& memory = snapshot.shared_memory.emplace_back();
      memory.inode = mapping.inode;
      memory.size = static_cast<std::uint64_t>(status.st_size);
      if (!request.page_runs) continue;
      Collector collector(memory.pages, request);
      std::vector<std::byte> buffer(1U << 20U);
      // Holes stay holes.
      for (off_t at = ::lseek(file.get(), 0, SEEK_DATA); at >= 0 && at < status.st_size;
           at = ::lseek(file.get(), at, SEEK_DATA)) {
        const off_t end = std::min(::lseek(file.get(), at, SEEK_HOLE), status.st_size);
        while (at < end) {
          const auto piece =
              std::span(buffer).first(std::min(buffer.size(), static_cast<std::size_t>(end - at)));
          TRY(os::pread_all(file, piece, at));
          TRY(collector.add(static_cast<std::uint64_t>(at), piece, true));
          at += static_cast<off_t>(piece.size());
        }
      }
    }
  }
  return {};
}

}  // namespace upkeep::native
