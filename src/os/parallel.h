#pragma once
// The same work for many jobs, on a few threads. The first error wins and the jobs not yet begun are left
// out.

#include <cstddef>
#include <functional>

#include "common/result.h"

namespace upkeep::os {

// As many threads as there are processors for us, at most four: copying memory, and reading /proc, saturate
// before that.
unsigned few_threads();
// Calls run(i) for i in [0, count), each once, in order of begin.
Result<void> for_each_parallel(std::size_t count, unsigned threads,
                               const std::function<Result<void>(std::size_t)>& run);

// Calls make(i) for i in [0, count) on several threads, and take(i) on this one, in their order, each as soon
// as make(i) has returned; where it has not yet, this thread makes another one meanwhile. The first error of
// take() ends it: what is not begun then is left out, what is begun has returned.
Result<void> make_and_take(std::size_t count, unsigned threads, const std::function<void(std::size_t)>& make,
                           const std::function<Result<void>(std::size_t)>& take);

}  // namespace upkeep::os
