// Which pages have contents of their own, and the contents.

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "engine/native/inspect/ahead.h"
#include "engine/native/inspect/own_pages.h"
#include "engine/native/inspect/readers.h"
#include "os/file.h"

namespace upkeep::native {
namespace {

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
  // Pages whose contents lie where the sink put them before.
  void reuse(const PageRange& range, std::uint64_t position) {
    append(range.start, (range.end - range.start) / kPage, position);
  }

 private:
  Result<void> add_run(std::uint64_t address, std::span<const std::byte> bytes) {
    std::uint64_t position = 0;
    if (request_.sink) {
      TRY_ASSIGN(position, request_.sink(bytes));
    }
    append(address, bytes.size() / kPage, position);
    return {};
  }
  void append(std::uint64_t address, std::uint64_t count, std::uint64_t position) {
    if (!runs_.empty()) {
      auto& last = runs_.back();
      const auto length = last.count * kPage;
      if (last.address + length == address && (!request_.sink || last.position + length == position)) {
        last.count += count;
        return;
      }
    }
    runs_.push_back({address, count, position});
  }
  std::vector<PageRun>& runs_;
  const InspectRequest& request_;
};

Result<std::vector<PagesAhead::Part>> parts_of(const PageRange& range, pid_t pid, os::Fd pagemap,
                                               const InspectRequest& request) {
  if (request.ahead == nullptr) return std::vector<PagesAhead::Part>{{range, std::nullopt}};
  return request.ahead->divide(pid, pagemap, range);
}

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
      TRY_ASSIGN(const auto parts, parts_of(range, pid, pagemap, request));
      for (const auto& part : parts) {
        if (part.copied_to) {
          collector.reuse(part.range, *part.copied_to);
          continue;
        }
        for (auto at = part.range.start; at < part.range.end;) {
          const auto piece =
              std::span(buffer).first(std::min<std::size_t>(buffer.size(), part.range.end - at));
          TRY_IN(fmt::format("process {}", pid), contents.read(at, piece));
          TRY(collector.add(at, piece, anonymous));
          at += piece.size();
        }
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
