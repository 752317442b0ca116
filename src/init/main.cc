// upkeep-init: PID 1 of the new kernel. Brings the root back, the network, the carried tasks, and becomes
// systemd.
//
// Whatever fails, the machine comes up: without a store it boots like any other; with one that cannot be
// restored it says so, saves the images and boots. Only a root that cannot be mounted leaves nothing to do
// but a reboot through the firmware.

#include <signal.h>
#include <sys/reboot.h>
#include <unistd.h>

#include <charconv>

#include "init/boot.h"
#include "init/console.h"
#include "jump/init_config.h"
#include "jump/new/landing.h"
#include "jump/new/settle.h"
#include "jump/new/stages.h"
#include "operation/event_queue.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/heap.h"
#include "os/procfs.h"

namespace upkeep::init {
namespace {

Result<jump::InitConfig> read_config() {
  TRY_ASSIGN(auto text, os::read_file(jump::kInitConfigPath));
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return Err("{} is not JSON", jump::kInitConfigPath);
  return jump::init_config_from_json(json);
}

Result<std::uint64_t> store_address() {
  TRY_ASSIGN(auto text, kernel_parameter(jump::kStoreParameter));
  if (text.empty()) return 0;
  std::string_view digits = text;
  if (digits.starts_with("0x")) digits.remove_prefix(2);
  std::uint64_t address = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address, 16);
  if (error != std::errc() || end != digits.data() + digits.size())
    return Err("{}{} is not an address", jump::kStoreParameter, text);
  return address;
}

[[noreturn]] void give_up(const Error& error) {
  say("cannot start this machine: " + error.message());
  say("restarting it through its firmware in 20 seconds");
  ::sleep(20);
  ::sync();
  ::reboot(RB_AUTOBOOT);
  for (;;) ::pause();
}

[[noreturn]] void become(const std::string& init) {
  ::execl(init.c_str(), init.c_str(), nullptr);
  give_up(Error(fmt::format("exec {}: {}", init, errno_text(errno)), errno));
}

// With the root there. After an error none of the carried tasks ran, and their images are on disk.
Result<void> carry_over(jump::Landing& landing, const jump::InitConfig& config, operation::Context& context,
                        operation::EventQueue& events) {
  TRY(events.attach(config.state_dir, config.id));
  const auto stages = jump::landing_stages(&landing);
  auto restored = operation::apply_stages(stages, context);
  if (restored) {
    jump::remove_copied_images(landing.directory());  // the tasks run and have read all of it
  } else {
    landing.let_go();
    operation::undo_stages(stages, events.progress(), os::boot_id(), events.record().emit);
  }
  if (!landing.is_open()) return restored;
  auto& manifest = landing.manifest;
  manifest.restored = restored.has_value();
  // Without the tasks a unit starts as in any boot, and memory and stopped units come back all the same.
  if (!restored) manifest.adoptions.clear();
  auto prepared = jump::prepare_settle(manifest);
  return restored ? prepared : restored;
}

int run() {
  say("pid 1");
  const auto first = os::read_clocks();
  if (auto mounted = mount_kernel_file_systems(); !mounted) give_up(mounted.error());
  auto config = read_config();
  if (!config) give_up(config.error());
  operation::EventQueue events(say_event);
  operation::Context context(events.record());
  auto address = store_address();
  if (!address) events.emit({"warning", "land", address.error().message()});
  const std::uint64_t store = address.value_or(0);
  if (store != 0) (void)reserve_pids(config->highest_pid);
  // Opened before the root is mounted: a damaged store is known before anything else happens.
  jump::Landing landing(false);
  if (store != 0) landing.begin(store, first, context);
  // Children were born since prepare.
  if (landing.is_open()) (void)reserve_pids(jump::highest_pid(landing.manifest));
  if (auto loaded = load_modules(); !loaded)
    say(loaded.error().message());  // the root may be there all the same
  auto device = machine::find_root_device(config->root);
  if (!device) give_up(device.error());
  if (auto entered = enter_root(*device, config->root); !entered) give_up(entered.error());
  auto carried = store == 0 ? Result<void>() : carry_over(landing, *config, context, events);
  if (!carried) {
    say("the carried tasks could not be restored: " + carried.error().message());
    say("the machine starts without them; see `upkeep status`, and `upkeep restore` to try again");
    events.emit(
        {"upgrade_ended", "", carried.error().message(), {{"outcome", "restore_failed"}, {"exit_code", 1}}});
  } else if (store != 0) {
    say("everything that was carried runs");
  }
  (void)events.sync();
  become(config->init);
}

}  // namespace
}  // namespace upkeep::init

int main() {
  ::signal(SIGPIPE, SIG_IGN);
  if (::getpid() != 1) {
    (void)!::write(
        2,
        "upkeep-init is started by the kernel as its first process; there is nothing else to do with it.\n",
        97);
    return 2;
  }
  upkeep::os::grow_heap_in_large_steps();
  return upkeep::init::run();
}
