#pragma once
// Kernel parameters that make the boot shorter and change nothing that lasts. Each was measured (jump to PID
// 1, emulated; between 0.1 and 0.5 s of 2 s); those that turned out to save nothing (maxcpus=1, tsc=reliable,
// mitigations, init_on_alloc, audit) are not here.

#include <string>
#include <string_view>
#include <vector>

namespace upkeep::kexec {

// What decides which of them are harmless on this machine.
struct BootFacts {
  bool fips = false;  // FIPS mode demands the self-tests
  bool under_hypervisor = false;
  bool constant_tsc = false;  // then the delay loop is not calibrated by trying, but worked out
  double bogomips = 0;        // of the running kernel; 0: unknown
  unsigned target_hz = 0;     // CONFIG_HZ of the target; 0: unknown
};

// CPUINFO is /proc/cpuinfo, FIPS_ENABLED /proc/sys/crypto/fips_enabled (empty where missing), RUNNING_LINE
// /proc/cmdline.
BootFacts read_boot_facts(std::string_view cpuinfo, std::string_view fips_enabled,
                          std::string_view running_line, unsigned target_hz);
// The same of this machine.
BootFacts probe_boot_facts(unsigned target_hz);

struct FastBootParameter {
  std::string parameter;  // "rcupdate.rcu_expedited=1"
  std::string why;
  // What it leaves switched on in the running kernel is switched off by writing UNDO_VALUE to UNDO_FILE, once
  // the carried tasks run again; empty where nothing stays. The file may be missing.
  std::string undo_file, undo_value;
};

// Empty where the machine's own command line already says something about a parameter: the operator's word
// counts.
std::vector<FastBootParameter> fast_boot_parameters(const BootFacts& facts, std::string_view own_line);

}  // namespace upkeep::kexec
