#pragma once
// After the upgrade, under the new kernel's systemd: what was stopped starts again, carried services are
// units again, the memory that held the images goes back to the kernel, and the journal is closed. Run once
// by upkeep-settle.service, which upkeep-init made.

#include <string>

#include "common/result.h"

namespace upkeep::jump {

inline constexpr const char* kSettlePath =
    "/run/upkeep/settle.json";  // the manifest, left there by upkeep-init

// Whether an upgrade still waits for its settle, or is in it.
bool settle_pending();

Result<void> settle(const std::string& manifest_path = kSettlePath);

}  // namespace upkeep::jump
