#pragma once
// Loading the new kernel, and jumping into it. kexec-tools loads in this version: before parking, with the
// services running.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/finding.h"
#include "common/result.h"

namespace upkeep::kexec {

struct SystemRoots {
  std::string proc = "/proc";
  std::string sys = "/sys";
};

// Can this machine load a kernel and jump? Refusals: kexec_load_disabled, lockdown, no CAP_SYS_BOOT, no kexec
// program, a kernel that somebody else has loaded (unloading it is theirs to do: `kexec -u`), encrypted
// guests (SEV, TDX). Warning: Secure Boot without lockdown.
std::vector<Finding> check(const SystemRoots& roots = {});

// Physical addresses [min, max): the new kernel, its initramfs and everything else that is loaded lie in
// there.
struct Window {
  std::uint64_t min = 0, max = 0;
};

struct LoadPlan {
  std::string image;             // bzImage
  std::string initramfs;         // its path
  std::string command_line;      // command_line.h
  std::optional<Window> window;  // none: where kexec likes
};

// kexec_load(2) through kexec-tools 2.0.25 (Debian 12) to 2.0.29 (Debian 13). Not kexec_file_load: that one
// knows no window, and the carried images must not be where segments land. Without the SHA-256 over all
// segments that kexec-tools' purgatory computes between the kernels (`-i`): it guards against a crashing
// kernel that overwrites a loaded crash kernel; here the pages are allocated by the running kernel and
// written by nobody, and it costs 0.3 s of the window on hardware, 1 s emulated. Afterwards the kernel is
// asked whether one is loaded. Fails, and loads nothing, where one is loaded already.
Result<void> load(const LoadPlan& plan);
std::vector<std::string> load_command(const LoadPlan& plan);  // what load() runs

// Whether a kernel is loaded, by whomever.
Result<bool> is_loaded(const SystemRoots& roots = {});

// `kexec -u`, from any process; no error where nothing is loaded. Callers record in their journal that it was
// they who loaded.
Result<void> unload();

// Into the loaded kernel, at once: no process is stopped, nothing synced, no unit shut down. Returns only on
// failure.
Error jump();

}  // namespace upkeep::kexec
