#pragma once
// Contents of pages on their way into the snapshot.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/result.h"
#include "engine/inspect/memory/own_pages.h"
#include "engine/inspect/memory/page_request.h"
#include "os/pagemap.h"

namespace upkeep::engine {

// NEXT after RUNS: as a part of the last one where it goes on behind that, in the file of contents too unless
// there is none (WITHOUT_CONTENTS).
void append_run(std::vector<PageRun>& runs, const PageRun& next, bool without_contents);

// Hands pages on in long runs; pages that read as zero are left out where nothing else would show through.
class PageCollector {
 public:
  // SINK: where they go; without one only the runs are noted.
  PageCollector(std::vector<PageRun>& runs, const PageSink& sink) : runs_(runs), sink_(sink) {}

  // BYTES: contents of the pages from ADDRESS on. ALWAYS: at multiples of this, pages of zeros are not left
  // out (0: nowhere). A huge page is there again when a part of it is.
  Result<void> add(std::uint64_t address, std::span<const std::byte> bytes, bool skip_zero,
                   std::uint64_t always = 0);
  // Pages whose contents lie where the sink put them before.
  void reuse(const os::PageRange& range, std::uint64_t position) {
    append_run(runs_, {range.start, (range.end - range.start) / kPage, position}, !sink_);
  }

 private:
  Result<void> add_run(std::uint64_t address, std::span<const std::byte> bytes);
  std::vector<PageRun>& runs_;
  const PageSink& sink_;
};

}  // namespace upkeep::engine
