#pragma once
// The machine's pools of huge pages (hugetlbpage.rst), where carried tasks use them: as large in the new
// kernel as in the old one, before the tasks are made.

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/result.h"
#include "os/huge_pages.h"

namespace upkeep::machine {

// In pages, but for page_size (bytes).
struct HugePagePool {
  std::uint64_t page_size = 0, pages = 0;
  std::uint64_t overcommit = 0;  // as many more at most, where somebody asks for them
};
nlohmann::json to_json(const HugePagePool& pool);
Result<HugePagePool> huge_page_pool_from_json(const nlohmann::json& json);

// Those that are not empty, as they are now; none where none of PIDS uses any.
Result<std::vector<HugePagePool>> pools_in_use(const std::vector<pid_t>& pids);

// Makes each of them that large, unless it is larger; spread over the nodes of memory as the kernel does it.
// Returns what there is less of than there was: who needs those pages says so. POOLS: another folder in
// tests.
Result<std::vector<std::string>> make_pools(const std::vector<HugePagePool>& wanted,
                                            std::chrono::milliseconds time_limit = std::chrono::seconds(20),
                                            const std::string& pools = os::kHugePagePools);

}  // namespace upkeep::machine
