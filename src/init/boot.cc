#include "init/boot.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

#include "init/console.h"
#include "os/file.h"
#include "os/mount.h"

namespace upkeep::init {
namespace {

// Frees the memory that the initramfs takes. Only entered while the root is still the ramfs it came in.
void empty_initramfs() {
  struct statfs fs = {};
  if (::statfs("/", &fs) < 0) return;
  constexpr long kRamfs = 0x858458f6, kTmpfs = 0x01021994;
  if (fs.f_type != kRamfs && fs.f_type != kTmpfs) return;
  for (const char* path : {"/modules", "/init"}) (void)os::remove_tree(path);
}

}  // namespace

Result<void> mount_kernel_file_systems() {
  struct Mount {
    const char *type, *point, *options;
  };
  constexpr std::array<Mount, 4> kMounts = {{{"proc", "/proc", "nosuid,nodev,noexec"},
                                             {"sysfs", "/sys", "nosuid,nodev,noexec"},
                                             {"devtmpfs", "/dev", "nosuid,mode=755"},
                                             {"tmpfs", "/run", "nosuid,nodev,mode=755"}}};
  for (const auto& mount : kMounts) {
    TRY(os::make_directories(mount.point));
    TRY(os::mount_file_system(mount.type, mount.point, mount.type, mount.options));
  }
  return {};
}

Result<void> reserve_pids(int highest) {
  // A kernel begins with 32768, or 1024 for each processor; that is too low for tasks of a machine that has
  // run for long. systemd sets the same (sysctl.d/50-pid-max.conf).
  constexpr const char *kLimit = "/proc/sys/kernel/pid_max", *kHighest = "4194304";  // PID_MAX_LIMIT
  TRY_ASSIGN(const auto limit, os::read_file(kLimit));
  if (std::atoi(limit.c_str()) <= highest) TRY(os::write_value(kLimit, kHighest));
  TRY_ASSIGN(auto last, os::read_file("/proc/sys/kernel/ns_last_pid"));
  if (std::atoi(last.c_str()) >= highest) return {};
  return os::write_value("/proc/sys/kernel/ns_last_pid", std::to_string(highest));
}

Result<void> load_modules(const std::string& directory) {
  TRY_ASSIGN(auto text, os::read_file(directory + "/order"));
  auto order = nlohmann::json::parse(text, nullptr, false);
  if (!order.is_array()) return Err("{}/order is not a list", directory);
  for (const auto& entry : order) {
    const std::string file = entry.value("file", ""), options = entry.value("options", "");
    TRY_ASSIGN(auto module, os::open_file(directory + "/" + file, O_RDONLY));
    if (::syscall(SYS_finit_module, module.get(), options.c_str(), 0) < 0 && errno != EEXIST &&
        entry.value("required", true)) {
      return ErrnoErr("load module {}", file);
    }
  }
  return {};
}

std::string find_parameter(std::string_view command_line, std::string_view name) {
  std::size_t at = 0;
  while ((at = command_line.find(name, at)) != std::string_view::npos) {
    if (at == 0 || command_line[at - 1] == ' ') {
      auto value = command_line.substr(at + name.size());
      return std::string(value.substr(0, value.find_first_of(" \n")));
    }
    at += name.size();
  }
  return "";
}

Result<std::string> kernel_parameter(std::string_view name) {
  TRY_ASSIGN(auto text, os::read_file("/proc/cmdline"));
  return find_parameter(text, name);
}

Result<void> enter_root(const std::string& device, const machine::RootFileSystem& root) {
  TRY(os::make_directories("/sysroot"));
  TRY(os::mount_file_system(device, "/sysroot", root.fs_type, root.options));
  for (const char* point : {"/proc", "/sys", "/dev", "/run"}) {
    TRY(os::move_mount_point(point, std::string("/sysroot") + point));
  }
  if (::chdir("/sysroot") < 0) return ErrnoErr("enter /sysroot");
  empty_initramfs();
  TRY(os::move_mount_point(".", "/"));
  if (::chroot(".") < 0) return ErrnoErr("chroot");
  if (::chdir("/") < 0) return ErrnoErr("chdir /");
  return {};
}

}  // namespace upkeep::init
