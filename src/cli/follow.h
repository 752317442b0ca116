#pragma once
// An upgrade, followed from any terminal: `upkeep status --wait`, and `upkeep upgrade` after it has started
// the worker.

#include <string>

#include "cli/command.h"
#include "common/result.h"
#include "report/summary.h"

namespace upkeep::cli {

// Tells the upgrade's progress (to standard output, or to standard error with --json; not at all with
// --quiet) from its first event on, and returns what became of it when it has ended or when nobody works on
// it any more. Interrupting this ends the telling only.
Result<report::Summary> follow_upgrade(const Context& context, const std::string& id);

}  // namespace upkeep::cli
