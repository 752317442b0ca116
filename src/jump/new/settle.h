#pragma once
// After the upgrade, under the new kernel's systemd: what was stopped starts again, carried services are
// units again, the memory that held the images goes back to the kernel, and the journal is closed. Run once
// by upkeep-settle.service, which upkeep-init made.

#include <string>

#include "common/result.h"
#include "jump/manifest.h"

namespace upkeep::jump {

// The manifest, left there by upkeep-init.
inline constexpr const char* kSettlePath = "/run/upkeep/settle.json";

// What systemd finds when it starts: drop-ins for the carried services, upkeep-settle.service, and the manifest.
Result<void> prepare_settle(const Manifest& manifest);

// Whether an upgrade still waits for its settle, or is in it.
bool settle_pending();

// Applies the stage settle, and ends the upgrade where its tasks were restored.
Result<void> settle(const std::string& manifest_path = kSettlePath);

}  // namespace upkeep::jump
