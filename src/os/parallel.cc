#include "os/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
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

namespace {

// Beside the calling thread.
std::size_t helpers_for(std::size_t jobs, unsigned threads) {
  return std::max<std::size_t>(std::min<std::size_t>(threads, jobs), 1) - 1;
}

// A machine that gives us no thread is slower, not broken: the calling thread does the work anyway.
std::vector<std::thread> begin_helpers(std::size_t count, const std::function<void()>& work) {
  std::vector<std::thread> helpers;
  try {
    while (helpers.size() < count) helpers.emplace_back(work);
  } catch (const std::system_error&) {
  }
  return helpers;
}

}  // namespace

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
  auto helpers = begin_helpers(helpers_for(count, threads), work);
  work();
  for (auto& helper : helpers) helper.join();
  if (first_error) return tl::unexpected(std::move(*first_error));
  return {};
}

Result<void> make_and_take(std::size_t count, unsigned threads, const std::function<void(std::size_t)>& make,
                           const std::function<Result<void>(std::size_t)>& take) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::condition_variable one_more;
  std::vector<bool> made(count, false);
  auto make_one = [&] {
    const auto i = next++;
    if (i >= count) return false;
    make(i);
    const std::lock_guard lock(mutex);
    made[i] = true;
    one_more.notify_one();
    return true;
  };
  auto helpers = begin_helpers(helpers_for(count, threads), [&] {
    while (make_one()) {
    }
  });
  auto is_made = [&](std::size_t i) {
    const std::lock_guard lock(mutex);
    return bool(made[i]);
  };
  Result<void> taken;
  for (std::size_t i = 0; i < count && taken; ++i) {
    while (!is_made(i)) {
      if (make_one()) continue;
      std::unique_lock lock(mutex);
      one_more.wait(lock, [&] { return bool(made[i]); });
    }
    taken = take(i);
  }
  next = count;
  for (auto& helper : helpers) helper.join();
  return taken;
}

}  // namespace upkeep::os
