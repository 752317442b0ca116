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

}  // namespace upkeep::os
