#include "os/huge_pages.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <charconv>
#include <string_view>

#include "os/file.h"

namespace upkeep::os {
namespace {

Result<std::uint64_t> number_in(const std::string& file) {
  TRY_ASSIGN(const auto text, read_file(file));
  std::uint64_t number = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc())
    return Err("{}: cannot read '{}'", file, text);
  return number;
}

// "hugepages-2048kB"
std::uint64_t page_size_of(std::string_view directory) {
  constexpr std::string_view kPrefix = "hugepages-";
  std::uint64_t kilobytes = 0;
  if (!directory.starts_with(kPrefix)) return 0;
  directory.remove_prefix(kPrefix.size());
  (void)std::from_chars(directory.data(), directory.data() + directory.size(), kilobytes);
  return kilobytes * 1024;
}

bool is_of_a_pool(const std::string& link) {
  struct statfs system = {};
  return ::statfs(link.c_str(), &system) == 0 && system.f_type == HUGETLBFS_MAGIC;
}

}  // namespace

Result<std::vector<HugePages>> read_huge_pages(const std::string& pools) {
  std::vector<HugePages> all;
  if (!exists(pools)) return all;
  TRY_ASSIGN(const auto names, list_directory(pools));
  for (const auto& name : names) {
    HugePages pool;
    pool.page_size = page_size_of(name);
    if (pool.page_size == 0) continue;
    const auto directory = fmt::format("{}/{}/", pools, name);
    TRY_ASSIGN(pool.all, number_in(directory + "nr_hugepages"));
    TRY_ASSIGN(pool.free, number_in(directory + "free_hugepages"));
    TRY_ASSIGN(pool.reserved, number_in(directory + "resv_hugepages"));
    TRY_ASSIGN(pool.surplus, number_in(directory + "surplus_hugepages"));
    TRY_ASSIGN(pool.overcommit, number_in(directory + "nr_overcommit_hugepages"));
    all.push_back(pool);
  }
  return all;
}

bool uses_huge_pages(pid_t pid) {
  for (const char* directory : {"fd", "map_files"}) {
    const auto path = fmt::format("/proc/{}/{}", pid, directory);
    for (const auto& name : list_directory(path).value_or(std::vector<std::string>())) {
      // Others are not asked: a network file system may take its time.
      const auto link = path + "/" + name;
      const auto target = read_link(link).value_or("");
      const bool may_be = target.starts_with("/anon_hugepage") || target.starts_with("/SYSV") ||
                          target.starts_with("/memfd:") || target.starts_with("/dev/hugepages");
      if (may_be && is_of_a_pool(link)) return true;
    }
  }
  return false;
}

}  // namespace upkeep::os
