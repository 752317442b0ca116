#include "os/limits.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>

#include "os/file.h"

namespace upkeep::os {

void allow_descriptors(std::size_t count) {
  constexpr std::size_t kOurs = 512;
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  if (limit.rlim_cur >= 2 * count + kOurs) return;
  rlim_t most = limit.rlim_max;
  if (const auto text = read_file("/proc/sys/fs/nr_open"))
    (void)std::from_chars(text->data(), text->data() + text->size(), most);
  const rlimit wanted = {std::max(most, limit.rlim_max), std::max(most, limit.rlim_max)};
  if (::setrlimit(RLIMIT_NOFILE, &wanted) == 0) return;
  limit.rlim_cur = limit.rlim_max;  // without CAP_SYS_RESOURCE the hard limit is the end of it
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace upkeep::os
