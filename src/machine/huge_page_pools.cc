#include "machine/huge_page_pools.h"

#include <algorithm>

#include "memory/huge_pool.h"
#include "os/file.h"

namespace upkeep::machine {

nlohmann::json to_json(const HugePagePool& pool) {
  return {{"page_size", pool.page_size}, {"pages", pool.pages}, {"overcommit", pool.overcommit}};
}

Result<HugePagePool> huge_page_pool_from_json(const nlohmann::json& json) try {
  return HugePagePool{json.at("page_size").get<std::uint64_t>(), json.at("pages").get<std::uint64_t>(),
                      json.at("overcommit").get<std::uint64_t>()};
} catch (const nlohmann::json::exception& error) {
  return Err("pools of huge pages: {}", error.what());
}

Result<std::vector<HugePagePool>> pools_in_use(const std::vector<pid_t>& pids) {
  std::vector<HugePagePool> in_use;
  if (std::none_of(pids.begin(), pids.end(), os::uses_huge_pages)) return in_use;
  TRY_ASSIGN(const auto pools, os::read_huge_pages());
  for (const auto& pool : pools) {
    if (pool.own() + pool.overcommit > 0) in_use.push_back({pool.page_size, pool.own(), pool.overcommit});
  }
  return in_use;
}

Result<std::vector<std::string>> make_pools(const std::vector<HugePagePool>& wanted,
                                            std::chrono::milliseconds time_limit, const std::string& pools) {
  std::vector<std::string> less;
  const auto end = std::chrono::steady_clock::now() + time_limit;
  TRY_ASSIGN(const auto there, os::read_huge_pages(pools));
  for (const auto& want : wanted) {
    const auto kilobytes = want.page_size / 1024;
    const auto has = std::find_if(there.begin(), there.end(),
                                  [&](const auto& pool) { return pool.page_size == want.page_size; });
    if (has == there.end()) {
      less.push_back(fmt::format("this kernel has no huge pages of {} kB", kilobytes));
      continue;
    }
    const auto folder = fmt::format("{}/hugepages-{}kB", pools, kilobytes);
    if (has->overcommit < want.overcommit)
      TRY(os::write_value(folder + "/nr_overcommit_hugepages", std::to_string(want.overcommit)));
    if (has->own() >= want.pages) continue;
    TRY_ASSIGN(const auto pages, memory::HugePool(pools, want.page_size).resize(want.pages, end));
    if (pages < want.pages)
      less.push_back(
          fmt::format("of {} huge pages of {} kB the kernel gives {}", want.pages, kilobytes, pages));
  }
  return less;
}

}  // namespace upkeep::machine
