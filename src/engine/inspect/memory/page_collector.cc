#include "engine/inspect/memory/page_collector.h"

#include "os/pagemap.h"

namespace upkeep::engine {

void append_run(std::vector<PageRun>& runs, const PageRun& next, bool without_contents) {
  if (!runs.empty()) {
    auto& last = runs.back();
    const auto length = last.count * kPage;
    if (last.address + length == next.address &&
        (without_contents || last.position + length == next.position)) {
      last.count += next.count;
      return;
    }
  }
  runs.push_back(next);
}

Result<void> PageCollector::add(std::uint64_t address, std::span<const std::byte> bytes, bool skip_zero,
                                std::uint64_t always) {
  for (std::size_t at = 0; at < bytes.size();) {
    auto end = at;
    auto wanted = [&] {
      return !skip_zero || (always != 0 && (address + end) % always == 0) ||
             !os::all_zero(bytes.subspan(end, kPage));
    };
    while (end < bytes.size() && wanted()) end += kPage;
    if (end > at) TRY(add_run(address + at, bytes.subspan(at, end - at)));
    at = end == at ? at + kPage : end;
  }
  return {};
}

Result<void> PageCollector::add_run(std::uint64_t address, std::span<const std::byte> bytes) {
  std::uint64_t position = 0;
  if (sink_) {
    TRY_ASSIGN(position, sink_(bytes));
  }
  append_run(runs_, {address, bytes.size() / kPage, position}, !sink_);
  return {};
}

}  // namespace upkeep::engine
