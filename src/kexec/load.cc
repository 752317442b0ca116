#include "kexec/load.h"

#include <linux/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>

#include "os/child.h"
#include "os/file.h"

namespace upkeep::kexec {
namespace {

// Copying an image takes a second emulated; a machine that needs this long is swapping.
constexpr auto patience = std::chrono::minutes(2);

std::string kexec_program() {
  auto path = os::find_program("kexec");
  // /usr/sbin is missing from the path of many users
  if (path.empty() && ::access("/usr/sbin/kexec", X_OK) == 0) path = "/usr/sbin/kexec";
  return path.empty() ? "kexec" : path;
}

}  // namespace

std::vector<std::string> load_command(const LoadPlan& plan) {
  std::vector<std::string> argv = {kexec_program(), "--load", "--kexec-syscall", "--no-checks",
                                   "--type=bzImage64"};
  if (plan.window) {
    argv.push_back(fmt::format("--mem-min={:#x}", plan.window->min));
    // the option's value is the last address that may be used
    argv.push_back(fmt::format("--mem-max={:#x}", plan.window->max - 1));
  }
  argv.push_back("--initrd=" + plan.initramfs);
  argv.push_back("--command-line=" + plan.command_line);
  argv.push_back(plan.image);
  return argv;
}

Result<bool> is_loaded(const SystemRoots& roots) {
  TRY_ASSIGN(const std::string text, os::read_file(roots.sys + "/kernel/kexec_loaded"));
  return text.starts_with('1');
}

Result<void> load(const LoadPlan& plan) {
  if (plan.window && plan.window->min >= plan.window->max)
    return Err("no room for the new kernel between {:#x} and {:#x}", plan.window->min, plan.window->max);
  TRY_ASSIGN(const bool loaded_before, is_loaded());
  if (loaded_before) return Err("a kernel is loaded already, by somebody else; 'kexec -u' unloads it");
  if (const auto done =
          os::run_checked(load_command(plan), {.timeout = patience, .input = {}, .in_child = {}});
      !done) {
    // killed half-way it may have loaded after all
    if (is_loaded().value_or(false)) (void)unload();
    if (plan.window && done.error().message().find("locate_hole") != std::string::npos)
      return Err("the new kernel and its initramfs do not fit between {:#x} and {:#x}", plan.window->min,
                 plan.window->max);
    return tl::unexpected(Error(done.error()).in("loading the new kernel"));
  }
  TRY_ASSIGN(const bool loaded, is_loaded());
  if (!loaded)
    return Err("kexec says that it loaded the new kernel, but the kernel says that none is loaded");
  return {};
}

Result<void> unload() {
  TRY_ASSIGN(const bool loaded, is_loaded());
  if (!loaded) return {};
  TRY_IN("unloading the new kernel", os::run_checked({kexec_program(), "--unload", "--kexec-syscall"},
                                                     {.timeout = patience, .input = {}, .in_child = {}}));
  TRY_ASSIGN(const bool still, is_loaded());
  if (still) return Err("kexec says that it unloaded the new kernel, but the kernel says that one is loaded");
  return {};
}

Error jump() {
  // not reboot(3): its man page allows it to sync, and it has no name for this command
  ::syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, nullptr);
  const int code = errno;
  return Error(fmt::format("jumping into the new kernel: {}", errno_text(code)), code);
}

}  // namespace upkeep::kexec
