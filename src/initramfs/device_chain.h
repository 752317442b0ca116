#pragma once
// What stands between a block device or a network link and the processor: the devices of its path in sysfs up
// to the root of the bus, each with its modalias and the driver that runs it now. Which modules the new
// kernel needs is read off this, never off a list of known hardware. SYSFS is "/sys"; tests give a tree of
// their own.

#include <optional>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::initramfs {

struct Device {
  std::string path;      // "/sys/devices/pci0000:00/0000:00:04.0/virtio1"
  std::string modalias;  // "virtio:d00000002v00001AF4"; empty where the device has none
  std::string driver;    // "virtio_blk"; empty: no driver is bound to it
  // The module that DRIVER comes from today, if the kernel says: also for drivers that are built in.
  std::string driver_module;
  bool module_is_loaded = false;  // DRIVER_MODULE is a loaded module, not built in
};

// The device at PATH (a path in sysfs, links allowed) and its parents, nearest first; those without modalias
// and without driver are left out.
Result<std::vector<Device>> device_chain(const std::string& sysfs, const std::string& path);

// Where the block device is; a partition lies below its disk.
Result<std::string> block_device_path(const std::string& sysfs, unsigned major, unsigned minor);
// Where the chains of a block device begin: itself, or, for a multipath NVMe disk (virtual in sysfs,
// "nvme-subsys0"), each of its controllers.
Result<std::vector<std::string>> block_device_origins(const std::string& sysfs, unsigned major,
                                                      unsigned minor);

struct PhysicalLink {
  std::string name;    // "eth0"
  std::string device;  // its device's path in sysfs
};
// Network links with a device behind them, sorted by name.
Result<std::vector<PhysicalLink>> physical_links(const std::string& sysfs);

}  // namespace upkeep::initramfs
