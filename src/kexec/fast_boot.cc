#include "kexec/fast_boot.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "kexec/command_line.h"
#include "os/file.h"

namespace upkeep::kexec {
namespace {

// The value behind "key\t: " of the first processor; empty where it is missing.
std::string_view cpuinfo_value(std::string_view cpuinfo, std::string_view key) {
  for (std::size_t at = 0; at < cpuinfo.size();) {
    const auto end = std::min(cpuinfo.find('\n', at), cpuinfo.size());
    const auto line = cpuinfo.substr(at, end - at);
    at = end + 1;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    auto name = line.substr(0, colon);
    while (name.ends_with('\t') || name.ends_with(' ')) name.remove_suffix(1);
    if (name != key) continue;
    auto value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    return value;
  }
  return {};
}

bool has_word(std::string_view words, std::string_view word) {
  for (std::size_t at = 0; at < words.size();) {
    const auto end = std::min(words.find(' ', at), words.size());
    if (words.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

}  // namespace

BootFacts read_boot_facts(std::string_view cpuinfo, std::string_view fips_enabled,
                          std::string_view running_line, unsigned target_hz) {
  BootFacts facts;
  const auto line = CommandLine::parse(running_line);
  const auto flags = cpuinfo_value(cpuinfo, "flags");
  facts.fips = fips_enabled.starts_with('1') || line.value("fips") == "1";
  facts.under_hypervisor = has_word(flags, "hypervisor");
  facts.constant_tsc = has_word(flags, "constant_tsc");
  const auto bogomips = cpuinfo_value(cpuinfo, "bogomips");
  double value = 0;
  const auto parsed = std::from_chars(bogomips.data(), bogomips.data() + bogomips.size(), value);
  if (parsed.ec == std::errc() && std::isfinite(value) && value > 0) facts.bogomips = value;
  facts.target_hz = target_hz;
  return facts;
}

BootFacts probe_boot_facts(unsigned target_hz) {
  const auto text = [](const char* path) { return os::read_file(path).value_or(""); };
  return read_boot_facts(text("/proc/cpuinfo"), text("/proc/sys/crypto/fips_enabled"), text("/proc/cmdline"),
                         target_hz);
}

std::vector<FastBootParameter> fast_boot_parameters(const BootFacts& facts, std::string_view own_line) {
  const auto own = CommandLine::parse(own_line);
  std::vector<FastBootParameter> chosen;
  const auto choose = [&](FastBootParameter parameter) {
    if (!own.has(parameter_name(parameter.parameter))) chosen.push_back(std::move(parameter));
  };
  if (!facts.fips)
    choose({"cryptomgr.notests",
            "self-tests of every cipher cost 0.5 s where a kernel has them on (Debian's 7.3)",
            {},
            {}});
  if (facts.under_hypervisor)
    choose({"no_timer_check",
            "the check that the timer's interrupt is wired as the tables say: on virtual boards it always is",
            {},
            {}});
  choose({"rcupdate.rcu_expedited=1", "grace periods that the boot waits for are not batched",
          "/sys/kernel/rcu_expedited", "0"});
  if (!facts.constant_tsc && facts.bogomips > 0 && facts.target_hz > 0) {
    // /proc/cpuinfo shows lpj * HZ / 500000 of the running kernel; lpj counts loops in a jiffy of the
    // target's length
    const auto loops = std::llround(facts.bogomips * 500000.0 / facts.target_hz);
    if (loops > 0)
      choose({fmt::format("lpj={}", loops),
              "the delay loop need not be calibrated: the running kernel has done it",
              {},
              {}});
  }
  return chosen;
}

}  // namespace upkeep::kexec
