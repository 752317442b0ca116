#pragma once
// Contents of pages on their way into the snapshot.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/result.h"
#include "engine/inspect/inspect.h"
#include "engine/inspect/memory/own_pages.h"

namespace upkeep::engine {

bool all_zero(std::span<const std::byte> page);

// NEXT after RUNS: as a part of the last one where it goes on behind that, in the file of contents too unless
// there is none (WITHOUT_CONTENTS).
void append_run(std::vector<PageRun>& runs, const PageRun& next, bool without_contents);

// Hands pages on in long runs; pages that read as zero are left out where nothing else would show through.
class PageCollector {
 public:
  PageCollector(std::vector<PageRun>& runs, const InspectRequest& request) : runs_(runs), request_(request) {}

  // BYTES: contents of the pages from ADDRESS on. ALWAYS: at multiples of this, pages of zeros are not left
  // out (0: nowhere). A huge page is there again when a part of it is.
  Result<void> add(std::uint64_t address, std::span<const std::byte> bytes, bool skip_zero,
                   std::uint64_t always = 0);
  // Pages whose contents lie where the sink put them before.
  void reuse(const PageRange& range, std::uint64_t position) {
    append_run(runs_, {range.start, (range.end - range.start) / kPage, position}, !request_.sink);
  }

 private:
  Result<void> add_run(std::uint64_t address, std::span<const std::byte> bytes);
  std::vector<PageRun>& runs_;
  const InspectRequest& request_;
};

}  // namespace upkeep::engine
