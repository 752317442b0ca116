#pragma once
// The carried part of a boot: from the store in memory to tasks that run, and what systemd finds afterwards.

#include <cstdint>
#include <future>
#include <memory>

#include "init/console.h"
#include "jump/new/landing.h"
#include "memory/carried_images.h"
#include "os/clock.h"

namespace upkeep::init {

// Opens the store at the physical address ADDRESS and checks it. FIRST: the clocks as PID 1 found them. Once
// the manifest is known CLOCK_REALTIME goes on from what the old kernel read last, and the end of the jump is
// written down.
struct OpenedStore {
  std::unique_ptr<memory::CarriedImages> images;
  jump::Manifest manifest;
};
Result<OpenedStore> open_store(std::uint64_t address, const os::ClockReading& first, EventQueue& events);

// Copies the images out of the store, checking them, while the caller brings devices and the root up: it
// needs nothing but memory, and no path, since the caller changes the root meanwhile.
using Extraction = std::future<Result<jump::Landing>>;
Result<Extraction> begin_extraction(OpenedStore& store);

// With the root there: mounts, files, tasks. After a failure the images go to disk for `upkeep restore`; none
// of them ran.
Result<void> bring_back(OpenedStore& store, Extraction extraction, EventQueue& events);

// What systemd finds when it starts: drop-ins for the carried services, and upkeep-settle.service.
Result<void> prepare_settle(const jump::Manifest& manifest);

}  // namespace upkeep::init
