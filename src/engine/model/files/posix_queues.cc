#include "engine/model/files/posix_queues.h"

#include <set>
#include <utility>

namespace upkeep::engine {

// ipc/mqueue.c: the most that anybody may have.
Result<void> validate(const std::vector<PosixQueue>& queues, const KnownObjects&) {
  constexpr std::int64_t kMostMessages = 65536, kLargestMessage = 16 << 20;
  constexpr std::size_t kLongestName = 255;
  std::set<std::pair<std::uint64_t, std::uint64_t>> known;
  for (const auto& queue : queues) {
    const auto& name = queue.name;
    if (name.size() < 2 || name.size() > kLongestName || name.rfind('/') != 0 || name == "/." ||
        name == "/.." || name.find('\0') != std::string::npos)
      return Err("'{}' is no name of a message queue", name);
    if (queue.most_messages < 1 || queue.most_messages > kMostMessages || queue.message_size < 1 ||
        queue.message_size > kLargestMessage || !known.emplace(queue.device, queue.inode).second)
      return Err("message queue {}: it is impossible", name);
  }
  return {};
}

void make_comparable(std::vector<PosixQueue>& queues, const std::vector<PosixQueue>*,
                     Comparison& comparison) {
  std::erase_if(queues, [&](const PosixQueue& queue) {
    return !comparison.posix_queues_open.contains({queue.device, queue.inode});
  });
  for (auto& queue : queues) {
    queue.device = queue.inode = 0;
    if (queue.removed) queue.name.clear();  // somebody else may have it now
  }
}

}  // namespace upkeep::engine
