#pragma once
// The kernel that comes next: found by what the operator calls it, and looked at before anything is done.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/finding.h"
#include "common/result.h"
#include "kexec/boot_image.h"
#include "kexec/kernel_config.h"

namespace upkeep::kexec {

struct TargetRoots {
  std::string boot = "/boot";
  std::string modules = "/lib/modules";
};

struct Target {
  std::string release;  // "7.3.4+deb13-cloud-amd64"
  std::string image;    // path of the bzImage
  std::string modules;  // "/lib/modules/7.3.4+deb13-cloud-amd64"
  BootImage header;
  std::optional<KernelConfig> config;  // where config-RELEASE is there
};

// Releases that have both an image and modules, newest first. The image lies in /boot or, as in Debian's
// packages since 7.3, possibly in the modules' own directory.
std::vector<std::string> list_targets(const TargetRoots& roots = {});

// KERNEL is a release, a short name ("6.12": the newest one installed of that series) or the path of an image
// (it has a '/'), whose release is read from the image itself. Everything is checked but whether the machine
// can boot it: header, modules.dep, that the image is what its name says. The error for an unknown name lists
// what is there.
Result<Target> find_target(std::string_view kernel, const TargetRoots& roots = {});

// What find_target found that is no error: configuration (kernel_config.h; a warning where there is none to
// look at), not relocatable, …
std::vector<Finding> check_target(const Target& target);

}  // namespace upkeep::kexec
