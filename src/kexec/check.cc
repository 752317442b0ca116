#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "kexec/load.h"
#include "os/child.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::kexec {
namespace {

constexpr unsigned cap_sys_boot = 22;
using Severity = Finding::Severity;

std::string text_of(const std::string& path) { return os::read_file(path).value_or(""); }

bool has_capability(const std::string& status) {
  const auto fields = os::parse_key_values(status);
  const auto effective = fields.find("CapEff");
  if (effective == fields.end()) return false;
  return (std::strtoull(effective->second.c_str(), nullptr, 16) >> cap_sys_boot & 1) != 0;
}

// "none [integrity] confidentiality" -> "integrity"
std::string lockdown_level(const std::string& text) {
  const auto open = text.find('['), close = text.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return "none";
  return text.substr(open + 1, close - open - 1);
}

bool secure_boot(const std::string& sys) {
  // four bytes of attributes, then the value
  const auto text = text_of(sys + "/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
  return text.size() == 5 && text[4] == 1;
}

// Empty where the machine's memory is not encrypted for it by the host.
std::string encrypted_guest(const SystemRoots& roots) {
  const auto cpuinfo = text_of(roots.proc + "/cpuinfo");
  if (cpuinfo.find(" tdx_guest") != std::string::npos || os::exists(roots.sys + "/class/misc/tdx_guest"))
    return "TDX";
  // the device is there where the driver is; /proc/cpuinfo's "sev" says only what a host could do
  if (os::exists(roots.sys + "/class/misc/sev-guest")) return "SEV";
  return {};
}

void check_locks(const SystemRoots& roots, std::vector<Finding>& findings) {
  if (const auto text = text_of(roots.proc + "/sys/kernel/kexec_load_disabled"); text.starts_with('1'))
    findings.push_back({Severity::refusal, "kexec is switched off (kernel.kexec_load_disabled = 1)",
                        "the switch cannot be turned back while this kernel runs",
                        "take it out of /etc/sysctl.conf or /etc/sysctl.d and reboot once"});
  const auto level = lockdown_level(text_of(roots.sys + "/kernel/security/lockdown"));
  if (level != "none")
    findings.push_back({Severity::refusal, fmt::format("the kernel is locked down ({})", level),
                        "kexec_load and /dev/mem are forbidden then",
                        "switch off Secure Boot, or boot without lockdown="});
  else if (secure_boot(roots.sys))
    findings.push_back({Severity::warning, "Secure Boot is on",
                        "the new kernel's signature is not verified on this way, and it may lock itself down",
                        "switch off Secure Boot if the new kernel refuses /dev/mem"});
}

}  // namespace

std::vector<Finding> check(const SystemRoots& roots) {
  std::vector<Finding> findings;
  if (!has_capability(text_of(roots.proc + "/self/status")))
    findings.push_back(
        {Severity::refusal, "no permission to load a kernel", "CAP_SYS_BOOT is missing", "run as root"});
  check_locks(roots, findings);
  const auto loaded = is_loaded(roots);
  if (!loaded)
    findings.push_back({Severity::refusal, "this kernel has no kexec", "/sys/kernel/kexec_loaded is missing",
                        "boot a kernel with CONFIG_KEXEC"});
  else if (*loaded)
    findings.push_back({Severity::refusal, "a kernel is loaded already",
                        "somebody else has loaded it (kdump has one of its own and does not count)",
                        "kexec -u unloads it"});
  if (os::find_program("kexec").empty() && ::access("/usr/sbin/kexec", X_OK) != 0)
    findings.push_back({Severity::refusal, "the program kexec is missing", "it loads the new kernel",
                        "apt install kexec-tools"});
  if (const auto kind = encrypted_guest(roots); !kind.empty())
    findings.push_back({Severity::refusal, fmt::format("this is a {} guest", kind),
                        "the new kernel cannot take over encrypted memory yet", "use another machine"});
  return findings;
}

}  // namespace upkeep::kexec
