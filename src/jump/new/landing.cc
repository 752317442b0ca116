#include "jump/new/landing.h"

#include <fcntl.h>

#include "jump/new/restored_tasks.h"
#include "os/file.h"
#include "os/mount.h"

namespace upkeep::jump {
namespace {

constexpr const char* kLandingDirectory = "/run/upkeep/landing";

// When PID 1 began, on the clock of the old kernel.
std::int64_t continue_clock(const Manifest& manifest, const os::ClockReading& first,
                            const operation::Context& context) {
  auto continued = os::continued_realtime(manifest.clocks, manifest.tsc_frequency, first);
  if (!continued) {
    context.emit(
        {"warning", "land",
         "the time stamp counter does not say how long the jump took; the clock has the grain of the "
         "clock chip"});
    return first.realtime_ns;
  }
  const std::int64_t since = os::monotonic_ns() - first.monotonic_ns;
  if (auto set = os::set_realtime(*continued + since); !set)
    context.emit({"warning", "land", set.error().message()});
  return *continued;
}

}  // namespace

Landing::Landing(bool machine_is_up) : machine_is_up_(machine_is_up) {}
Landing::~Landing() = default;

void Landing::begin(std::uint64_t address, const os::ClockReading& first, operation::Context& context) {
  begun_ = open(address);
  if (!begun_) return;
  const std::int64_t began = continue_clock(manifest, first, context);
  Event jumped{"stage_done", "jump", ""};
  jumped.time_ns = began;
  context.emit(jumped);
  context.enter("land", began);
  context.fact({{"landing", directory_},
                {"store", address},
                {"saved_images", saved_images_path(manifest.state_dir, manifest.id)}});
  begun_ = begin_copying();
}

Result<void> Landing::open(std::uint64_t address) {
  TRY_ASSIGN(auto images, memory::CarriedImages::open(address));
  TRY_ASSIGN(auto text, images.manifest());
  TRY_ASSIGN(manifest, parse_manifest(text));
  directory_ = kLandingDirectory;
  images_ = std::make_unique<memory::CarriedImages>(std::move(images));
  return {};
}

Result<void> Landing::begin_copying() {
  TRY(os::make_directories(directory_, 0700));
  TRY(os::mount_file_system("upkeep", directory_, "tmpfs", "nosuid,nodev,noexec,mode=0700,size=90%"));
  TRY_ASSIGN(auto directory, os::open_file(directory_, O_RDONLY | O_DIRECTORY));
  copied_ = std::async(std::launch::async, [this, directory = std::move(directory)]() -> Result<void> {
    TRY(images_->extract(directory));
    return {};
  });
  return {};
}

Result<void> Landing::wait_for_images() {
  TRY(begun_);
  return copied_.get();
}

Result<void> Landing::open_saved(const std::string& path, const std::string& directory) {
  TRY_ASSIGN(auto images, memory::CarriedImages::open_file(path));
  TRY_ASSIGN(auto text, images.manifest());
  TRY_ASSIGN(manifest, parse_manifest(text));
  TRY_ASSIGN(auto opened, os::open_file(directory, O_RDONLY | O_DIRECTORY));
  TRY(images.extract(opened));
  directory_ = directory;
  return {};
}

void Landing::let_go() { tasks.reset(); }

void remove_copied_images(const std::string& directory) {
  if (directory.empty()) return;
  if (os::is_mount_point(directory)) (void)os::unmount(directory, true);
  (void)os::remove_tree(directory);
}

std::string saved_images_path(const std::string& state_dir, const std::string& id) {
  return fmt::format("{}/{}/images.store", state_dir, id);
}

}  // namespace upkeep::jump
