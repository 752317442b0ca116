// Real kernels' module folders: UPKEEP_TEST_MODULES names a folder that holds one folder for each release (or
// several, with ':' between them), as /lib/modules does. Neither root nor the kernels themselves are needed.

#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "initramfs/decompress.h"
#include "initramfs/image.h"
#include "initramfs/modules.h"
#include "os/child.h"
#include "os/file.h"

namespace upkeep::initramfs {
namespace {

namespace fs = std::filesystem;

struct RealKernel {
  std::string modules, release;
};

std::vector<RealKernel> kernels() {
  std::vector<RealKernel> found;
  const char* given = std::getenv("UPKEEP_TEST_MODULES");
  std::stringstream folders(given != nullptr ? given : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto releases = os::list_directory(folder);
    if (!releases) continue;
    for (const auto& release : *releases)
      if (os::exists(folder + "/" + release + "/modules.dep.bin")) found.push_back({folder, release});
  }
  return found;
}

// The sysfs of a guest with a virtio network card and its root on DISK.
class GuestSysfs {
 public:
  explicit GuestSysfs(const std::string& disk) {
    char name[] = "/tmp/upkeep-sysfs-XXXXXX";
    root_ = ::mkdtemp(name);
    fs::create_directories(root_ / "class/net");
    fs::create_directories(root_ / "dev/block");
    const std::string bus = "pci0000:00/";
    const std::string virtio = "pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00";
    device(bus + "0000:00:03.0", "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00", "virtio-pci");
    device(bus + "0000:00:03.0/virtio0", "virtio:d00000001v00001AF4", "virtio_net");
    fs::create_symlink(root_ / ("devices/" + bus + "0000:00:03.0/virtio0"), link("class/net/ens3/device"));
    std::string end;
    if (disk == "virtio_blk") {
      device(bus + "0000:00:04.0", virtio, "virtio-pci");
      device(bus + "0000:00:04.0/virtio1", "virtio:d00000002v00001AF4", "virtio_blk");
      end = "0000:00:04.0/virtio1/block/vda/vda1";
    } else if (disk == "nvme") {
      device(bus + "0000:00:04.0", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02", "nvme");
      end = "0000:00:04.0/nvme/nvme0/nvme0n1/nvme0n1p1";
    } else if (disk == "virtio_scsi") {
      device(bus + "0000:00:04.0", "pci:v00001AF4d00001048sv00001AF4sd00001100bc01sc00i00", "virtio-pci");
      device(bus + "0000:00:04.0/virtio1", "virtio:d00000008v00001AF4", "virtio_scsi");
      device(bus + "0000:00:04.0/virtio1/host0/target0:0:0/0:0:0:0", "scsi:t-0x00", "sd");
      end = "0000:00:04.0/virtio1/host0/target0:0:0/0:0:0:0/block/sda/sda1";
    } else {  // ahci
      device(bus + "0000:00:1f.2", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", "ahci");
      device(bus + "0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0", "scsi:t-0x00", "sd");
      end = "0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1";
    }
    fs::create_directories(root_ / "devices" / bus / end);
    fs::create_symlink(root_ / "devices" / bus / end, link("dev/block/8:1"));
  }
  ~GuestSysfs() { fs::remove_all(root_); }
  GuestSysfs(const GuestSysfs&) = delete;
  GuestSysfs& operator=(const GuestSysfs&) = delete;
  std::string root() const { return root_; }

 private:
  void device(const std::string& path, const std::string& modalias, const std::string& driver) {
    const auto folder = root_ / "devices" / path, driver_folder = root_ / "bus/drivers" / driver;
    fs::create_directories(folder);
    fs::create_directories(driver_folder);
    std::ofstream(folder / "modalias") << modalias << "\n";
    fs::create_symlink(driver_folder, folder / "driver");
    // as the running kernel says it, whether its driver is built in or loaded
    auto module = driver == "sd" ? std::string("sd_mod") : driver;
    std::ranges::replace(module, '-', '_');
    fs::create_directories(root_ / "module" / module);
    if (driver != "virtio-pci" && driver != "nvme")
      std::ofstream(root_ / "module" / module / "initstate") << "live\n";
    if (!fs::exists(driver_folder / "module"))
      fs::create_symlink(root_ / "module" / module, driver_folder / "module");
  }
  fs::path link(const std::string& path) {
    fs::create_directories((root_ / path).parent_path());
    return root_ / path;
  }
  fs::path root_;
};

bool provides(const ModuleSet& set, const std::string& name) {
  return std::ranges::find(set.built_in, name) != set.built_in.end() ||
         std::ranges::find(set.load_order, name, &Module::name) != set.load_order.end();
}

bool has_file(const RealKernel& kernel, const std::string& name) {
  const auto index = os::read_file(kernel.modules + "/" + kernel.release + "/modules.dep");
  return index && index->find("/" + name + ".ko") != std::string::npos;
}

class RealKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (kernels().empty()) GTEST_SKIP() << "no kernel's modules under UPKEEP_TEST_MODULES";
  }
  static Result<ModuleSet> modules(const RealKernel& kernel, const std::string& sys,
                                   const std::string& type) {
    const ModuleRoots roots{sys, kernel.modules, "/nonexistent", "none", {"/nonexistent"}};
    Needs needs;
    needs.file_systems = {{8, 1, type}};
    for (const auto name : hold_modules) needs.names.emplace_back(name);
    return modules_for(needs, kernel.release, roots);
  }
};

TEST_F(RealKernels, EveryDiskHasItsDriver) {
  const std::pair<const char*, std::vector<const char*>> disks[] = {
      {"virtio_blk", {"virtio_pci", "virtio_blk"}},
      {"nvme", {"nvme"}},
      {"virtio_scsi", {"virtio_pci", "virtio_scsi", "sd_mod"}},
      {"ahci", {"ahci", "sd_mod"}}};
  for (const auto& kernel : kernels())
    for (const auto& [disk, drivers] : disks) {
      const GuestSysfs sysfs(disk);
      for (const auto* type : {"ext4", "xfs"}) {
        const auto set = modules(kernel, sysfs.root(), type);
        if (disk == std::string("ahci") && !has_file(kernel, "ahci")) {  // Debian's 6.1 for clouds
          ASSERT_FALSE(set) << kernel.release;
          EXPECT_THAT(set.error().message(),
                      testing::AllOf(testing::HasSubstr("0000:00:1f.2"), testing::HasSubstr("ahci")));
          continue;
        }
        ASSERT_TRUE(set) << kernel.release << ": " << set.error().message();
        for (const auto* driver : drivers)
          EXPECT_TRUE(provides(*set, driver)) << kernel.release << " " << disk << " " << driver;
        for (const auto* other : {"virtio_net", "nf_tables", type})
          EXPECT_TRUE(provides(*set, other)) << kernel.release << " " << other;
        std::string order;
        for (const auto& module : set->load_order) order += " " + module.name + (module.required ? "" : "?");
        std::printf("%s %s %s:%s\n", kernel.release.c_str(), disk, type, order.c_str());
      }
    }
}

// modinfo's "depends" of each module names what must stand before it.
TEST_F(RealKernels, DependenciesComeFirst) {
  const GuestSysfs sysfs("virtio_scsi");
  for (const auto& kernel : kernels()) {
    const auto set = modules(kernel, sysfs.root(), "xfs");
    ASSERT_TRUE(set) << set.error().message();
    std::vector<std::string> before = set->built_in;
    for (const auto& module : set->load_order) {
      const auto depends = os::run_checked({"modinfo", "-F", "depends", module.path});
      ASSERT_TRUE(depends) << depends.error().message();
      std::stringstream names(depends->substr(0, depends->find('\n')));
      for (std::string name; std::getline(names, name, ',');)
        EXPECT_THAT(before, testing::Contains(name)) << kernel.release << ": " << module.name;
      before.push_back(module.name);
      EXPECT_TRUE(read_module(module.path)) << module.path;
    }
  }
}

TEST_F(RealKernels, InitramfsIsListedByCpio) {
  const GuestSysfs sysfs("virtio_blk");
  const std::string program = sysfs.root() + "/init", path = sysfs.root() + "/initramfs.cpio";
  const auto built = os::run_checked(
      {"g++", "-x", "c", "-nostdlib", "-static", "-o", program, "-"},
      {.timeout = std::chrono::seconds(60), .input = "void _start(void) { for (;;) { } }", .in_child = {}});
  ASSERT_TRUE(built) << built.error().message();
  for (const auto& kernel : kernels()) {
    const auto set = modules(kernel, sysfs.root(), "ext4");
    ASSERT_TRUE(set) << set.error().message();
    ImagePlan plan;
    plan.init_program = program;
    plan.init_config = "{}";
    plan.modules = set->load_order;
    const auto image = build_file(plan, path);
    ASSERT_TRUE(image) << image.error().message();
    const auto listed =
        os::run_checked({"cpio", "-it", "--quiet"},
                        {.timeout = std::chrono::seconds(20), .input = *os::read_file(path), .in_child = {}});
    ASSERT_TRUE(listed) << listed.error().message();
    std::set<std::string> names;
    std::stringstream lines(*listed);
    for (std::string line; std::getline(lines, line);) names.insert(line);
    EXPECT_EQ(names, std::set<std::string>(image->entries.begin(), image->entries.end()));
    EXPECT_LT(image->size, std::uint64_t{4} << 20) << kernel.release;  // segments cost time in the jump
    std::printf("%s: %llu bytes, %zu modules\n", kernel.release.c_str(),
                static_cast<unsigned long long>(image->size), plan.modules.size());
  }
}

}  // namespace
}  // namespace upkeep::initramfs
