// Which pages have contents of their own, and the contents.

#include <fcntl.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "engine/inspect/memory/ahead.h"
#include "engine/inspect/memory/own_pages.h"
#include "engine/inspect/memory/page_collector.h"
#include "engine/inspect/readers.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

// Whether a page of a huge page pool was written since, no kernel tells.
Result<std::vector<PagesAhead::Part>> parts_of(const PageRange& range, const Mapping& mapping, pid_t pid,
                                               os::Fd pagemap, const InspectRequest& request) {
  if (request.ahead == nullptr || mapping.huge_page != 0)
    return std::vector<PagesAhead::Part>{{range, std::nullopt}};
  return request.ahead->divide(pid, pagemap, range);
}

}  // namespace

Result<void> read_pages(pid_t pid, AddressSpace& memory, const InspectRequest& request) {
  if (!request.page_runs && !request.guards) return {};
  TRY_ASSIGN(const auto contents, os::TaskMemory::open(pid));
  TRY_ASSIGN(const auto pagemap, os::open_file(fmt::format("/proc/{}/pagemap", pid), O_RDONLY));
  PageCollector collector(memory.pages, request);
  std::vector<std::byte> buffer(request.page_runs ? 1U << 20U : 0);
  std::vector<Mapping> mappings;  // that have pages of any interest
  std::copy_if(memory.mappings.begin(), memory.mappings.end(), std::back_inserter(mappings),
               [](const auto& mapping) {
                 return mapping.kind == MappingKind::file || mapping.kind == MappingKind::anonymous ||
                        mapping.of_kept_file();
               });
  TRY_ASSIGN(const auto all, own_pages(pagemap, mappings));
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    const bool anonymous = mappings[i].kind == MappingKind::anonymous;
    for (const auto& guard : all[i].guards) memory.guards.push_back({guard.start, guard.end});
    if (!request.page_runs) continue;
    const auto& ranges = all[i].pages;
    for (const auto& range : ranges) {
      TRY_ASSIGN(const auto parts, parts_of(range, mappings[i], pid, pagemap, request));
      for (const auto& part : parts) {
        if (part.copied_to) {
          collector.reuse(part.range, *part.copied_to);
          continue;
        }
        for (auto at = part.range.start; at < part.range.end;) {
          const auto piece =
              std::span(buffer).first(std::min<std::size_t>(buffer.size(), part.range.end - at));
          TRY_IN(fmt::format("process {}", pid), contents.read(at, piece));
          TRY(collector.add(at, piece, anonymous, mappings[i].huge_page));
          at += piece.size();
        }
      }
    }
  }
  return {};
}

}  // namespace upkeep::engine
