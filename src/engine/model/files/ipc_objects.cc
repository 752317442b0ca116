#include "engine/model/files/ipc_objects.h"

#include <algorithm>

namespace upkeep::engine {

// ipc_check_id() and SEMVMX of the kernel's.
Result<void> validate(const SemaphoreSet& set, const KnownObjects&) {
  constexpr std::uint16_t kHighestValue = 32767;
  const auto& values = set.values;
  if (set.permissions.id < 0 || values.empty() || values.size() > kMostSemaphores ||
      std::ranges::any_of(values, [](auto value) { return value > kHighestValue; }))
    return Err("semaphore set {}: it is impossible", set.permissions.id);
  return {};
}

Result<void> validate(const MessageQueue& queue, const KnownObjects&) {
  if (queue.permissions.id < 0 ||
      std::ranges::any_of(queue.messages, [](const auto& m) { return m.type <= 0; }))
    return Err("message queue {}: it is impossible", queue.permissions.id);
  return {};
}

}  // namespace upkeep::engine
