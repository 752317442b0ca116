#include "landing/huge_page_pools.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <string>

#include "os/file.h"

namespace upkeep::landing {
namespace {

bool is_of_a_pool(const std::string& link) {
  const auto target = os::read_link(link).value_or("");
  const bool may_be =
      target.starts_with("/anon_hugepage") || target.starts_with("/SYSV") || target.starts_with("/memfd:");
  struct statfs system = {};
  return may_be && ::statfs(link.c_str(), &system) == 0 && system.f_type == HUGETLBFS_MAGIC;
}

}  // namespace

bool use_huge_page_pools(const std::vector<int>& pids) {
  for (const int pid : pids) {
    for (const char* folder : {"fd", "map_files"}) {
      const auto path = fmt::format("/proc/{}/{}", pid, folder);
      for (const auto& name : os::list_directory(path).value_or(std::vector<std::string>())) {
        if (is_of_a_pool(path + "/" + name)) return true;
      }
    }
  }
  return false;
}

}  // namespace upkeep::landing
