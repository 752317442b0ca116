#pragma once
// Which modules the new kernel has to load before it can mount its root and put the network back: worked out
// from the devices of the running system, for the kernel that comes next. What a device's driver is called,
// and whether it is a module or built in, differs between releases (virtio_pci is a module in Debian's 6.1
// and built in from 6.12), so the device's modalias decides, looked up in the target's own index; today's
// driver only chooses among several answers.

#include <string>
#include <vector>

#include "common/result.h"
#include "initramfs/kmod_index.h"

namespace upkeep::initramfs {

struct Module {
  std::string name;      // "virtio_blk"
  std::string path;      // its file, perhaps compressed: decompress.h reads it
  std::string options;   // "queue_depth=64", from modprobe.d and the kernel command line
  std::string reason;    // for people: "root file system: /sys/devices/…/virtio1"
  bool required = true;  // false: goes on without it (soft dependencies, names that may be missing)
  std::vector<std::string> firmware;  // files below /lib/firmware that it may ask for and that are there
};

struct ModuleSet {
  std::vector<Module> load_order;     // dependencies first; what is built in is left out
  std::vector<std::string> built_in;  // asked for, and part of the kernel already
  std::vector<std::string> missing;   // of Needs::optional_names
};

// A file system that is mounted before anything else can be loaded.
struct FileSystemNeed {
  unsigned major = 0, minor = 0;  // of its device
  std::string type;               // "ext4"
};

struct Needs {
  std::vector<FileSystemNeed> file_systems;
  bool physical_links = true;               // the drivers of all network cards
  std::vector<std::string> names;           // modules or aliases; not known to the target: an error
  std::vector<std::string> optional_names;  // the same, but without an error
};

// What holding the network closed needs (net/hold.h: a table of family inet, base chains, no rules):
// nf_tables alone. What that needs again follows from the target's index: nfnetlink and libcrc32c in
// Debian's 6.1 and 6.12, nfnetlink in 6.18, nothing in 7.3, where nfnetlink is a fixed part of the kernel and
// not even listed in modules.builtin, so asking for it by name would be an error there.
inline constexpr std::string_view hold_modules[] = {"nf_tables"};

// An error names the device and its alias, or the name, that the target has no module for.
Result<ModuleSet> modules_for(const Needs& needs, const std::string& release, const ModuleRoots& roots = {});

}  // namespace upkeep::initramfs
