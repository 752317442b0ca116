#pragma once
// A kernel's build configuration (/boot/config-RELEASE), as far as it decides whether carried tasks can live
// on it.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/finding.h"

namespace upkeep::kexec {

// "CONFIG_HZ" -> "250", strings without their quotes. What "is not set" is absent, as what was never heard
// of.
using KernelConfig = std::map<std::string, std::string, std::less<>>;
KernelConfig parse_kernel_config(std::string_view text);

bool enabled(const KernelConfig& config, std::string_view name);  // y or m
unsigned config_number(const KernelConfig& config,
                       std::string_view name);  // "CONFIG_HZ" -> 250; 0: not there, no number

// Refusals and warnings for what is missing in the kernel called RELEASE. Empty: all is there.
std::vector<Finding> check_kernel_config(const KernelConfig& config, const std::string& release);

}  // namespace upkeep::kexec
