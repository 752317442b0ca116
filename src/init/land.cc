#include "init/land.h"

#include <fcntl.h>

#include "jump/new/settle.h"
#include "machine/mounts.h"
#include "os/file.h"
#include "os/mount.h"
#include "systemd/adoption.h"
#include "systemd/journald_sockets.h"
#include "systemd/settle_unit.h"

namespace upkeep::init {
namespace {

constexpr const char* kFolder = "/run/upkeep/landing";

// When PID 1 began, on the clock of the old kernel.
std::int64_t continue_clock(const jump::Manifest& manifest, const os::ClockReading& first,
                            EventQueue& events) {
  auto continued = os::continued_realtime(manifest.clocks, manifest.tsc_frequency, first);
  if (!continued) {
    events.emit({"warning", "land",
                 "the time stamp counter does not tell how long the jump took; the clock has the grain of "
                 "the clock chip"});
    return first.realtime_ns;
  }
  const std::int64_t since = os::monotonic_ns() - first.monotonic_ns;
  if (auto set = os::set_realtime(*continued + since); !set)
    events.emit({"warning", "land", set.error().message()});
  return *continued;
}

Result<void> restore(const OpenedStore& store, Extraction& extraction, EventQueue& events) {
  systemd::JournaldSockets journald;
  auto landed = extraction.get();
  if (!landed) {
    events.emit({"stage_failed", "land", landed.error().message()});
    return tl::unexpected(std::move(landed).error());
  }
  TRY(machine::make_early_mounts(store.manifest.mounts));
  events.emit({"stage_done", "land", ""});
  jump::RestoreOptions options;
  options.on_journald_wanted = [&]() -> Result<void> {
    TRY_ASSIGN(journald, systemd::JournaldSockets::listen());
    return {};
  };
  TRY(jump::restore_tasks(*landed, options, events.sink()));
  journald.hand_on();
  return {};
}

}  // namespace

Result<OpenedStore> open_store(std::uint64_t address, const os::ClockReading& first, EventQueue& events) {
  TRY_ASSIGN(auto images, memory::CarriedImages::open(address));
  TRY_ASSIGN(auto text, images.manifest());
  TRY_ASSIGN(auto manifest, jump::parse_manifest(text));
  const std::int64_t began = continue_clock(manifest, first, events);
  Event jumped{"stage_done", "jump", ""};
  Event landing{"stage_begun", "land", ""};
  jumped.time_ns = landing.time_ns = began;
  events.emit(std::move(jumped));
  events.emit(std::move(landing));
  return OpenedStore{std::make_unique<memory::CarriedImages>(std::move(images)), std::move(manifest)};
}

Result<Extraction> begin_extraction(OpenedStore& store) {
  TRY(os::make_directories(kFolder, 0700));
  TRY(os::mount_file_system("upkeep", kFolder, "tmpfs", "nosuid,nodev,noexec,mode=0700,size=90%"));
  TRY_ASSIGN(auto directory, os::open_file(kFolder, O_RDONLY | O_DIRECTORY));
  return std::async(std::launch::async,
                    [&images = *store.images, directory = std::move(directory)]() -> Result<jump::Landing> {
                      TRY_ASSIGN(auto landed, jump::extract_store(images, directory));
                      landed.folder = kFolder;
                      return landed;
                    });
}

Result<void> bring_back(OpenedStore& store, Extraction extraction, EventQueue& events) {
  auto restored = restore(store, extraction, events);
  if (os::is_mount_point(kFolder)) (void)os::unmount(kFolder, true);
  (void)os::remove_tree(kFolder);
  if (restored) return {};
  const auto path = jump::kept_store_path(store.manifest.state_dir, store.manifest.id);
  if (auto kept = store.images->save_to(path); !kept) {
    events.emit({"warning", "restore", "the images could not be kept: " + kept.error().message()});
  }
  return restored;
}

Result<void> prepare_settle(const jump::Manifest& manifest) {
  for (const auto& adoption : manifest.adoptions) TRY(systemd::prepare_adoption(adoption));
  TRY(os::make_directories("/run/upkeep", 0755));
  TRY_ASSIGN(const auto text, jump::to_text(manifest));
  TRY(os::replace_file(jump::kSettlePath, text));
  return systemd::enable_settle_unit(jump::kSettlePath);
}

}  // namespace upkeep::init
