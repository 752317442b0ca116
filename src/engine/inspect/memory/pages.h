#pragma once
// Which pages of an address space have contents of their own, and the contents.

#include <sys/types.h>

#include "common/result.h"
#include "engine/inspect/memory/page_request.h"
#include "engine/model/memory/address_space.h"

namespace upkeep::engine {

// Fills in AddressSpace::pages and guards, whose mappings are known.
Result<void> read_pages(pid_t pid, AddressSpace& memory, const PageRequest& request);

}  // namespace upkeep::engine
