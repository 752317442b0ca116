#pragma once
// The sysctls of the network, /proc/sys/net: those of core, ipv4, ipv6 and unix that can be written.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "net/snapshot.h"

namespace upkeep::net {

inline constexpr const char* kSysctlRoot = "/proc/sys/net";

// What can be read and written, in the order in which it has to be written: some of these set others
// (ip_forward resets what conf/*/forwarding says, conf/all/disable_ipv6 goes to every link).
Result<std::vector<Sysctl>> read_sysctls(const std::string& root = kSysctlRoot);
void sort_for_writing(std::vector<Sysctl>& sysctls);

// The link of "ipv4/conf/eth0/rp_filter" or "ipv6/neigh/eth0/..."; "" for what belongs to none, `all` and
// `default` included.
std::string link_of_sysctl(std::string_view path);

// "ipv4/conf/default/rp_filter" of "ipv4/conf/eth0/rp_filter"; "" where there is no such thing.
std::string default_of_sysctl(std::string_view path);

struct SysctlResult {
  std::vector<std::string> written;
  std::vector<std::string> unknown;  // this kernel does not have them
  std::vector<std::string> refused;  // "ipv4/...: Invalid argument"
};
// Writes those for which WANTED holds and whose value is another one now.
SysctlResult write_sysctls(const std::vector<Sysctl>& sysctls,
                           const std::function<bool(const Sysctl&)>& wanted,
                           const std::string& root = kSysctlRoot);

}  // namespace upkeep::net
