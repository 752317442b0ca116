#include "engine/model/files/epoll.h"

#include <algorithm>
#include <tuple>

namespace upkeep::engine {

Result<void> validate(const EpollWatch& watch, const KnownObjects& known) {
  if (watch.file >= known.files) return Err("it watches a file that is not there");
  return {};
}

void make_comparable(Epoll& value, const Epoll*, Comparison&) {
  std::sort(value.watches.begin(), value.watches.end(),
            [](const auto& a, const auto& b) { return std::tie(a.fd, a.file) < std::tie(b.fd, b.file); });
}

}  // namespace upkeep::engine
