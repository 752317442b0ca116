#include "engine/inspect/memory/pages.h"

#include <fcntl.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "engine/inspect/memory/ahead.h"
#include "engine/inspect/memory/own_pages.h"
#include "engine/inspect/memory/page_collector.h"
#include "os/file.h"
#include "os/pagemap.h"
#include "os/task_memory.h"

namespace upkeep::engine {
namespace {

// Whether a page of a huge page pool was written since, no kernel tells.
Result<std::vector<PagesAhead::Part>> parts_of(const os::PageRange& range, const Mapping& mapping, pid_t pid,
                                               os::Fd pagemap, const PageRequest& request) {
  if (request.ahead == nullptr || mapping.huge_page != 0)
    return std::vector<PagesAhead::Part>{{range, std::nullopt}};
  return request.ahead->divide(pid, pagemap, range);
}

// Through BUFFER, piece by piece.
Result<void> copy_contents(const os::PageRange& range, const Mapping& mapping, const os::TaskMemory& contents,
                           std::span<std::byte> buffer, PageCollector& collector) {
  const bool anonymous = mapping.kind == MappingKind::anonymous;
  for (auto at = range.start; at < range.end;) {
    const auto piece = buffer.first(std::min<std::size_t>(buffer.size(), range.end - at));
    TRY(contents.read(at, piece));
    TRY(collector.add(at, piece, anonymous, mapping.huge_page));
    at += piece.size();
  }
  return {};
}

}  // namespace

Result<void> read_pages(pid_t pid, AddressSpace& memory, const PageRequest& request) {
  if (!request.runs && !request.guards) return {};
  TRY_ASSIGN(const auto contents, os::TaskMemory::open(pid));
  TRY_ASSIGN(const auto pagemap, os::open_file(fmt::format("/proc/{}/pagemap", pid), O_RDONLY));
  PageCollector collector(memory.pages, request.sink);
  std::vector<std::byte> buffer(request.runs ? 1U << 20U : 0);
  std::vector<Mapping> mappings;  // that have pages of any interest
  std::copy_if(memory.mappings.begin(), memory.mappings.end(), std::back_inserter(mappings),
               [](const auto& mapping) {
                 return mapping.kind == MappingKind::file || mapping.kind == MappingKind::anonymous ||
                        mapping.of_kept_file();
               });
  TRY_ASSIGN(const auto all, own_pages(pagemap, mappings));
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    for (const auto& guard : all[i].guards) memory.guards.push_back({guard.start, guard.end});
    if (!request.runs) continue;
    const auto& ranges = all[i].pages;
    for (const auto& range : ranges) {
      TRY_ASSIGN(const auto parts, parts_of(range, mappings[i], pid, pagemap, request));
      for (const auto& part : parts) {
        if (part.copied_to)
          collector.reuse(part.range, *part.copied_to);
        else
          TRY_IN(fmt::format("process {}", pid),
                 copy_contents(part.range, mappings[i], contents, buffer, collector));
      }
    }
  }
  return {};
}

}  // namespace upkeep::engine
