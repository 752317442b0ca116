#include "os/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace upkeep::os {

unsigned few_threads() {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  if (sched_getaffinity(0, sizeof(mine), &mine) != 0) return 2;
  return static_cast<unsigned>(std::clamp(CPU_COUNT(&mine), 1, 4));
}

Result<void> for_each_parallel(std::size_t count, unsigned threads,
                               const std::function<Result<void>(std::size_t)>& run) {
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> failed = false;
  std::mutex mutex;
  std::optional<Error> first_error;
  auto work = [&] {
    for (std::size_t i = next++; i < count && !failed; i = next++) {
      if (auto done = run(i); !done) {
        const std::lock_guard lock(mutex);
        if (!first_error) first_error = std::move(done).error();
        failed = true;
      }
    }
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < threads && i < count; ++i) {
    // A machine that gives us no thread is slower, not broken: this thread does the work anyway.
    try {
      helpers.emplace_back(work);
    } catch (const std::system_error&) {
      break;
    }
  }
  work();
  for (auto& helper : helpers) helper.join();
  if (first_error) return tl::unexpected(std::move(*first_error));
  return {};
}

}  // namespace upkeep::os
