#include "kexec/kernel_config.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace upkeep::kexec {
namespace {

struct Wanted {
  const char* name;
  Finding::Severity severity;
  const char* why;
};

constexpr auto must = Finding::Severity::refusal;
constexpr auto should = Finding::Severity::warning;
constexpr Wanted wanted[] = {
    {"CONFIG_BLK_DEV_INITRD", must, "it cannot start from an initramfs"},
    {"CONFIG_DEVMEM", must, "carried images are read through /dev/mem"},
    {"CONFIG_CHECKPOINT_RESTORE", must, "processes cannot be rebuilt without it"},
    {"CONFIG_TIME_NS", must, "the clocks of carried tasks would go back"},
    {"CONFIG_NF_TABLES", must, "the network cannot be held closed while sockets are missing"},
    {"CONFIG_NF_TABLES_INET", must, "the network cannot be held closed while sockets are missing"},
    {"CONFIG_UNIX_DIAG", must, "Unix sockets that were made again are compared through it"},
    {"CONFIG_PACKET_DIAG", should, "tasks with packet sockets cannot be restored"},
    {"CONFIG_USERFAULTFD", should, "memory cannot be filled on demand"},
    {"CONFIG_KEXEC", should, "there is no next upgrade from it"},
};

}  // namespace

KernelConfig parse_kernel_config(std::string_view text) {
  KernelConfig config;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto equals = line.find('=');
    if (!line.starts_with("CONFIG_") || equals == std::string_view::npos) continue;
    auto value = line.substr(equals + 1);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    config.emplace(line.substr(0, equals), value);
  }
  return config;
}

bool enabled(const KernelConfig& config, std::string_view name) {
  const auto found = config.find(name);
  return found != config.end() && (found->second == "y" || found->second == "m");
}

unsigned config_number(const KernelConfig& config, std::string_view name) {
  const auto found = config.find(name);
  if (found == config.end()) return 0;
  const auto& text = found->second;
  unsigned number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() ? number : 0;
}

std::vector<Finding> check_kernel_config(const KernelConfig& config, const std::string& release) {
  std::vector<Finding> findings;
  for (const auto& option : wanted) {
    if (enabled(config, option.name)) continue;
    findings.push_back({option.severity, fmt::format("kernel {} is built without {}", release, option.name),
                        option.why, "choose another kernel with --to"});
  }
  return findings;
}

}  // namespace upkeep::kexec
