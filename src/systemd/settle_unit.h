#pragma once
// upkeep-settle.service: what the new kernel's systemd runs once when it is up, to end an upgrade.

#include <string>

#include "common/result.h"

namespace upkeep::systemd {

// For a systemd that has not been started yet. It runs `upkeep settle` if MANIFEST, a file, is there.
Result<void> enable_settle_unit(const std::string& manifest, const std::string& run_dir = "/run");

}  // namespace upkeep::systemd
