#include "os/pagemap.h"

#include <cstring>

#include "common/page_size.h"
#include "os/file.h"

namespace upkeep::os {

Result<std::vector<std::uint64_t>> read_pagemap(Fd pagemap, const PageRange& range) {
  std::vector<std::uint64_t> entries((range.end - range.start) / kPageSize);
  TRY(pread_all(pagemap, std::as_writable_bytes(std::span(entries)),
                static_cast<off_t>(range.start / kPageSize * sizeof(std::uint64_t))));
  return entries;
}

bool all_zero(std::span<const std::byte> page) {
  return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

}  // namespace upkeep::os
