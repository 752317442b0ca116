#pragma once
// A kernel's module directory and a sysfs of the test's own: modules are assembled from a few lines of text,
// indexed by the real depmod, so that libkmod reads what it would read on a machine.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../../test_directory.h"
#include "initramfs/kmod_index.h"
#include "os/child.h"

namespace upkeep::initramfs {

struct FakeModule {
  std::string name;
  std::vector<std::string> aliases;
  std::vector<std::string> uses;       // other FakeModules
  std::vector<std::string> more_info;  // "softdep=pre: x", "firmware=a.bin"
};

class KernelTree {
 public:
  explicit KernelTree(std::string release = "9.9.9-test") : release_(std::move(release)) {
    std::filesystem::create_directories(folder() / "kernel");
    std::filesystem::create_directories(root_ / "sys/devices");
    std::filesystem::create_directories(root_ / "sys/class/net");
    std::filesystem::create_directories(root_ / "modprobe.d");
    write(folder() / "modules.order", "");
    write(folder() / "modules.builtin", "");
    write(folder() / "modules.builtin.modinfo", "");
  }
  KernelTree(const KernelTree&) = delete;
  KernelTree& operator=(const KernelTree&) = delete;

  std::filesystem::path root() const { return root_; }
  std::filesystem::path folder() const { return root_ / "lib/modules" / release_; }
  std::filesystem::path module_file(const std::string& name) const {
    return folder() / "kernel" / (name + ".ko");
  }
  const std::string& release() const { return release_; }
  ModuleRoots roots() const {
    return {root_ / "sys", root_ / "lib/modules", root_ / "firmware", running_, {root_ / "modprobe.d"}};
  }

  void write(const std::filesystem::path& path, const std::string& content) const {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }

  void add(const FakeModule& module) const {
    std::string text =
        ".section .modinfo,\"a\"\n.asciz \"license=GPL\"\n.asciz \"name=" + module.name + "\"\n";
    for (const auto& alias : module.aliases) text += ".asciz \"alias=" + alias + "\"\n";
    for (const auto& info : module.more_info) text += ".asciz \"" + info + "\"\n";
    text += ".section __ksymtab_strings,\"aMS\",@progbits,1\n.asciz \"use_" + module.name + "\"\n";
    text += ".data\n.globl __ksymtab_use_" + module.name + "\n__ksymtab_use_" + module.name + ":\n.quad 0\n";
    for (const auto& other : module.uses) text += ".quad use_" + other + "\n";
    const auto made = os::run_checked({"as", "-o", module_file(module.name), "-"},
                                      {.timeout = std::chrono::seconds(20), .input = text, .in_child = {}});
    ASSERT_TRUE(made) << made.error().message();
  }
  void add_built_in(const std::string& name, const std::vector<std::string>& aliases = {}) const {
    std::ofstream(folder() / "modules.builtin", std::ios::app) << "kernel/" << name << ".ko\n";
    std::ofstream info(folder() / "modules.builtin.modinfo", std::ios::app | std::ios::binary);
    for (const auto& alias : aliases) info << name << ".alias=" << alias << '\0';
    info << name << ".license=GPL" << '\0';
  }
  void index() const {
    const auto made = os::run_checked({"depmod", "-b", root_, release_});
    ASSERT_TRUE(made) << made.error().message();
  }
  // What has been added so far is the running kernel's; the target has the same, less what is removed from
  // it.
  void index_as_running() {
    index();
    std::filesystem::copy(folder(), root_ / "lib/modules/1.1.1-running",
                          std::filesystem::copy_options::recursive);
    running_ = "1.1.1-running";
  }
  void remove_built_in() const {
    write(folder() / "modules.builtin", "");
    write(folder() / "modules.builtin.modinfo", "");
  }

  // A device in sysfs; DRIVER is bound to it, from MODULE ("" where the kernel does not say).
  void add_device(const std::string& path, const std::string& modalias, const std::string& driver = "",
                  const std::string& module = "", bool module_is_loaded = false) const {
    const auto device = root_ / "sys/devices" / path;
    std::filesystem::create_directories(device);
    if (!modalias.empty()) write(device / "modalias", modalias + "\n");
    if (driver.empty()) return;
    const auto driver_folder = root_ / "sys/bus/any/drivers" / driver;
    std::filesystem::create_directories(driver_folder);
    std::filesystem::create_directory_symlink(driver_folder, device / "driver");
    if (module.empty() || std::filesystem::exists(driver_folder / "module")) return;
    const auto module_folder = root_ / "sys/module" / module;
    std::filesystem::create_directories(module_folder);
    if (module_is_loaded) write(module_folder / "initstate", "live\n");
    std::filesystem::create_directory_symlink(module_folder, driver_folder / "module");
  }
  void link(const std::string& from, const std::string& device) const {
    std::filesystem::create_directories((root_ / "sys" / from).parent_path());
    std::filesystem::create_symlink(root_ / "sys/devices" / device, root_ / "sys" / from);
  }

 private:
  TestDirectory test_;
  const std::filesystem::path root_ = test_.path();
  std::string release_, running_ = "none";
};

}  // namespace upkeep::initramfs
