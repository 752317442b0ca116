#include "engine/inspect/files/epoll.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>

namespace upkeep::engine {
namespace {

constexpr int kKcmpEpollTarget = 7;  // KCMP_EPOLL_TFD

// struct kcmp_epoll_slot
struct EpollSlot {
  std::uint32_t epoll_fd, fd, offset;
};

// The number may be another file's by now, and the file open under another one, or in another task.
// OCCURRENCE: among the entries with the same number.
const OpenFilePlace* watched(const OpenFilePlace& set, const EpollWatch& watch, std::uint32_t occurrence,
                             const std::vector<OpenFilePlace>& places, const Snapshot& snapshot) {
  EpollSlot slot = {static_cast<std::uint32_t>(set.fd), static_cast<std::uint32_t>(watch.fd), occurrence};
  auto is = [&](pid_t pid, int fd) {
    return ::syscall(SYS_kcmp, pid, set.pid, kKcmpEpollTarget, fd, &slot) == 0;
  };
  if (const auto* holder = snapshot.find(set.pid)) {
    const auto& descriptors = holder->descriptors;
    const auto usual = std::lower_bound(descriptors.begin(), descriptors.end(), watch.fd,
                                        [](const auto& d, int fd) { return d.fd < fd; });
    if (usual != descriptors.end() && usual->fd == watch.fd && is(set.pid, watch.fd))
      return &places[usual->file];
  }
  for (const auto& place : places) {
    if (place.inode == watch.inode && is(place.pid, place.fd)) return &place;
  }
  return nullptr;
}

}  // namespace

void find_watched_files(const std::vector<OpenFilePlace>& places, Look tasks, Snapshot& snapshot) {
  for (const auto& set : places) {
    auto& file = snapshot.files[set.file];
    if (!file.epoll) continue;
    std::map<int, std::uint32_t> occurrences;
    for (auto& watch : file.epoll->watches) {
      const auto* place = watched(set, watch, occurrences[watch.fd]++, places, snapshot);
      watch.inode = 0;
      if (place != nullptr) {
        watch.file = place->file;
      } else if (stand_still(tasks)) {
        snapshot.obstacles.push_back(
            {set.pid, fmt::format("descriptor {} (epoll)", set.fd),
             fmt::format("it watches what was descriptor {} and is held by no process of the tree", watch.fd),
             ""});
      }
    }
  }
}

}  // namespace upkeep::engine
