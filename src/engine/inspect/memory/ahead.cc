#include "engine/inspect/memory/ahead.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>

#include "engine/inspect/calls/proc_text.h"
#include "engine/inspect/memory/page_collector.h"
#include "engine/inspect/memory/page_request.h"
#include "engine/model/snapshot.h"
#include "os/file.h"
#include "os/pagemap.h"
#include "os/procfs.h"
#include "os/task_memory.h"

namespace upkeep::engine {
bool PagesAhead::possible() {
  auto pagemap = os::open_file("/proc/self/pagemap", O_RDONLY);
  void* page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!pagemap || page == MAP_FAILED) return false;
  *static_cast<volatile char*>(page) = 1;
  const auto start = reinterpret_cast<std::uintptr_t>(page);
  const auto entries = os::read_pagemap(*pagemap, {start, start + kPage});
  ::munmap(page, kPage);
  return entries && (entries->front() & os::kSoftDirty) != 0;
}

Result<std::uint64_t> PagesAhead::copy(pid_t pid, const PageSink& sink) {
  const auto directory = fmt::format("/proc/{}", pid);
  Copied copied;
  TRY_ASSIGN(const auto stat, os::read_stat(pid));
  copied.start_time = stat.start_time;
  // Before the first page is looked at: what is written from here on is told.
  TRY(os::write_value(directory + "/clear_refs", "4"));
  TRY_ASSIGN(const auto maps, os::read_file(directory + "/maps"));
  TRY_ASSIGN(const auto mappings, parse_maps(maps));
  TRY_ASSIGN(const auto pagemap, os::open_file(directory + "/pagemap", O_RDONLY));
  TRY_ASSIGN(const auto memory, os::TaskMemory::open(pid));
  std::vector<std::byte> buffer(1U << 20U);
  std::uint64_t bytes = 0;
  for (const auto& mapping : mappings) {
    // Writes to huge pages of a pool are not told.
    if (mapping.name.starts_with("/anon_hugepage")) continue;
    if (mapping.shared || (mapping.kind != MappingKind::file && mapping.kind != MappingKind::anonymous))
      continue;
    const auto own = own_pages(pagemap, std::span(&mapping, 1));
    if (!own) continue;  // unmapped meanwhile
    for (const auto& range : own->front().pages) {
      for (auto at = range.start; at < range.end;) {
        const auto piece = std::span(buffer).first(std::min<std::size_t>(buffer.size(), range.end - at));
        if (memory.read(at, piece)) {
          TRY_ASSIGN(const auto position, sink(piece));
          append_run(copied.runs, {at, piece.size() / kPage, position}, false);
          bytes += piece.size();
        }
        at += piece.size();
      }
    }
  }
  processes_[pid] = std::move(copied);
  return bytes;
}

const PagesAhead::Copied* PagesAhead::copied(pid_t pid) const {
  const auto found = processes_.find(pid);
  if (found == processes_.end()) return nullptr;
  auto stat = os::read_stat(pid);
  return stat && stat->start_time == found->second.start_time ? &found->second : nullptr;
}

Result<std::vector<PagesAhead::Part>> PagesAhead::divide(pid_t pid, os::Fd pagemap,
                                                         const os::PageRange& range) const {
  std::vector<Part> parts;
  const auto* known = copied(pid);
  if (known == nullptr) return std::vector<Part>{{range, std::nullopt}};
  TRY_ASSIGN(const auto entries, os::read_pagemap(pagemap, range));
  auto run = std::lower_bound(
      known->runs.begin(), known->runs.end(), range.start,
      [](const PageRun& r, std::uint64_t address) { return r.address + r.count * kPage <= address; });
  for (auto at = range.start; at < range.end; at += kPage) {
    while (run != known->runs.end() && run->address + run->count * kPage <= at) ++run;
    const bool there = run != known->runs.end() && run->address <= at;
    const bool same = there && (entries[(at - range.start) / kPage] & os::kSoftDirty) == 0;
    const auto position = same ? std::optional(run->position + (at - run->address)) : std::nullopt;
    auto continues = [&](const Part& last) {
      const auto length = last.range.end - last.range.start;
      return last.copied_to.has_value() == same && (!same || *last.copied_to + length == *position);
    };
    if (!parts.empty() && continues(parts.back()))
      parts.back().range.end = at + kPage;
    else
      parts.push_back({{at, at + kPage}, position});
  }
  return parts;
}

}  // namespace upkeep::engine
