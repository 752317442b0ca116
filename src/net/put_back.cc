#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <set>

#include "net/links.h"
#include "net/messages.h"
#include "net/settle.h"
#include "net/snapshot.h"
#include "net/sysctl.h"
#include "os/file.h"

namespace upkeep::net {
namespace {

// Flags of an address that can be given; the others (tentative, secondary, permanent, ...) the kernel works
// out.
constexpr std::uint32_t kGivenFlags =
    IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN;

// Temporary addresses are made as soon as this is on and an address comes: after the addresses that were
// there.
bool is_late(const Sysctl& sysctl) { return is_accept_dad(sysctl) || sysctl.path.ends_with("/use_tempaddr"); }

class Work {
 public:
  Work(os::NetlinkSocket& socket, const Snapshot& snapshot) : socket_(socket), snapshot_(snapshot) {}
  Result<Outcome> run(const PutBackOptions& options);

 private:
  void put_sysctls(const std::function<bool(const Sysctl&)>& wanted);
  bool has_link(const Sysctl& sysctl) const;
  bool as_default(const Sysctl& sysctl) const;
  void no_address_detection();
  Result<void> put_addresses();
  Result<void> put_rules();
  Result<void> put_routes();
  void put_neighbours();
  bool try_or_warn(const Result<void>& done, const std::string& what);

  os::NetlinkSocket& socket_;
  const Snapshot& snapshot_;
  Indexes indexes_;
  Outcome outcome_;
  std::set<std::string> unknown_sysctls_, changed_sysctls_;
  std::map<std::string, std::string> default_sysctls_;  // of `default`, by path
};

bool Work::try_or_warn(const Result<void>& done, const std::string& what) {
  if (!done) outcome_.warnings.push_back(fmt::format("{}: {}", what, done.error().message()));
  return done.has_value();
}

bool Work::has_link(const Sysctl& sysctl) const {
  const std::string name = link_of_sysctl(sysctl.path);
  auto link = std::find_if(snapshot_.links.begin(), snapshot_.links.end(),
                           [&](const Link& l) { return l.name == name; });
  return link != snapshot_.links.end() && indexes_.contains(link->index);
}

void Work::put_sysctls(const std::function<bool(const Sysctl&)>& wanted) {
  auto sysctls = snapshot_.sysctls;
  sort_for_writing(sysctls);
  auto result = write_sysctls(sysctls, wanted);
  outcome_.sysctls_written += static_cast<unsigned>(result.written.size());
  changed_sysctls_.insert(result.written.begin(), result.written.end());
  for (auto& path : result.unknown) unknown_sysctls_.insert(std::move(path));
  for (auto& refused : result.refused) outcome_.warnings.push_back("sysctl " + std::move(refused));
}

// A link that the new kernel has just made has what `default` said. Where that was not changed here, and the
// old link had the same, there is nothing to look at: most of some hundred files.
bool Work::as_default(const Sysctl& sysctl) const {
  auto found = default_sysctls_.find(default_of_sysctl(sysctl.path));
  return found != default_sysctls_.end() && found->second == sysctl.value &&
         !changed_sysctls_.contains(found->first);
}

// Nobody took our addresses in these few seconds: they are used at once, not after a second of probing. The
// usual way, IFA_F_NODAD, would be visible on the address for ever after, and does not reach link-local ones.
void Work::no_address_detection() {
  std::vector<Sysctl> off;
  for (const auto& sysctl : snapshot_.sysctls) {
    if (is_accept_dad(sysctl) && (link_of_sysctl(sysctl.path).empty() || has_link(sysctl)))
      off.push_back({sysctl.path, "0"});
  }
  write_sysctls(off, [](const Sysctl&) { return true; });
}

Result<void> Work::put_addresses() {
  TRY_ASSIGN(const auto found, read_addresses(socket_));
  std::vector<const Address*> ordered;
  // The kernel lists IPv4 addresses in the order of their adding, and IPv6 ones the other way round.
  for (const auto& address : snapshot_.addresses) ordered.push_back(&address);
  auto six = std::stable_partition(ordered.begin(), ordered.end(),
                                   [](const Address* a) { return a->family == AF_INET; });
  std::reverse(six, ordered.end());
  unsigned homeless = 0;
  for (const Address* address : ordered) {
    auto link = indexes_.find(address->link);
    if (link == indexes_.end()) {
      ++homeless;
      continue;
    }
    auto there = std::find_if(found.begin(), found.end(),
                              [&](const Address& now) { return same_place(*address, now, link->second); });
    Address given = *address;
    given.flags &= kGivenFlags;
    const bool for_ever = given.valid == 0xffffffff && given.preferred == 0xffffffff;
    if (there != found.end() && for_ever && (there->flags & kGivenFlags) == given.flags &&
        there->valid == given.valid && there->preferred == given.preferred &&
        there->protocol == given.protocol && there->metric == given.metric && there->label == given.label &&
        there->broadcast == given.broadcast) {
      continue;
    }
    const bool temporary = given.family == AF_INET6 && (address->flags & IFA_F_TEMPORARY) != 0;
    if (temporary)
      outcome_.warnings.push_back(
          fmt::format("address {}: no longer marked as a temporary one", address->local));
    auto done = socket_.send(address_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, given, link->second));
    if (try_or_warn(done, fmt::format("address {}/{}", given.local, given.prefix)) && there == found.end())
      ++outcome_.addresses_added;
  }
  if (homeless > 0)
    outcome_.warnings.push_back(fmt::format("{} addresses of links that are not there", homeless));
  return {};
}

Result<void> Work::put_rules() {
  TRY_ASSIGN(const auto found, read_rules(socket_));
  auto contains = [](const std::vector<Rule>& rules, const Rule& rule) {
    return std::find(rules.begin(), rules.end(), rule) != rules.end();
  };
  for (const auto& rule : snapshot_.rules) {
    if (contains(found, rule)) continue;
    auto done = socket_.send(rule_request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule));
    if (!done && done.error().code() == EEXIST) continue;
    try_or_warn(done, "policy rule");
  }
  // Only the kernel's own default rules are there beside: somebody had taken them away.
  for (const auto& rule : found) {
    auto protocol = std::find_if(rule.attributes.begin(), rule.attributes.end(),
                                 [](const auto& a) { return a.type == FRA_PROTOCOL; });
    const bool of_kernel =
        protocol != rule.attributes.end() && protocol->bytes == std::string(1, RTPROT_KERNEL);
    if (of_kernel && !contains(snapshot_.rules, rule)) {
      try_or_warn(socket_.send(rule_request(RTM_DELRULE, 0, rule)), "remove default policy rule");
    }
  }
  return {};
}

Result<void> Work::put_routes() {
  const std::vector<Route> wanted = routes_now(snapshot_, indexes_);
  if (const auto homeless = snapshot_.routes.size() - wanted.size(); homeless > 0) {
    outcome_.warnings.push_back(fmt::format("{} routes through links that are not there", homeless));
  }
  TRY(remove_uncalled_routes(socket_, wanted, outcome_.warnings));
  TRY_ASSIGN(const auto found, read_routes(socket_));
  std::vector<const Route*> left;
  for (const auto& route : wanted) {
    const bool there =
        std::any_of(found.begin(), found.end(), [&](const Route& now) { return same_route(route, now); });
    if (!there) left.push_back(&route);
  }
  // A route by a gateway needs the one to the gateway: as long as a pass gets somewhere, there is another.
  for (bool progress = true; progress && !left.empty();) {
    progress = false;
    std::vector<const Route*> again;
    for (const Route* route : left) {
      // Appending keeps the order of IPv4 routes that differ in nothing but their way; IPv6 takes it for more
      // hops.
      const int flags = NLM_F_CREATE | (route->family == AF_INET ? NLM_F_APPEND : 0);
      auto done = socket_.send(route_request(RTM_NEWROUTE, flags, *route));
      const bool added = done.has_value() || done.error().code() == EEXIST;
      if (added) ++outcome_.routes_added;
      progress = progress || added;
      if (!added) again.push_back(route);
    }
    if (!progress) {
      for (const Route* route : again) {
        try_or_warn(socket_.send(route_request(RTM_NEWROUTE, NLM_F_CREATE, *route)), "route " + route->text);
      }
    }
    left = std::move(again);
  }
  return {};
}

void Work::put_neighbours() {
  for (const auto& neighbour : snapshot_.neighbours) {
    auto link = indexes_.find(neighbour.link);
    if (link == indexes_.end()) continue;  // goes with its link, which has its warning
    auto done = socket_.send(neighbour_request(NLM_F_CREATE | NLM_F_REPLACE, neighbour, link->second));
    try_or_warn(done, "neighbour " + neighbour.destination);
  }
}

Result<Outcome> Work::run(const PutBackOptions& options) {
  auto global = [](const Sysctl& sysctl) { return link_of_sysctl(sysctl.path).empty(); };
  // Before there are links: they are made after `default`, and get their queueing discipline by
  // default_qdisc.
  put_sysctls([&](const Sysctl& s) { return global(s) && !is_late(s); });
  TRY_ASSIGN(auto links, put_links(socket_, snapshot_.links, options.wait_for_links));
  indexes_ = std::move(links.indexes);
  outcome_.links_made = links.made;
  for (auto& warning : links.warnings) outcome_.warnings.push_back(std::move(warning));
  put_sysctls([&](const Sysctl& s) { return is_accept_dad(s) && (global(s) || has_link(s)); });
  no_address_detection();
  for (const auto& s : snapshot_.sysctls) {
    if (s.path.find("/default/") != std::string::npos) default_sysctls_[s.path] = s.value;
  }
  put_sysctls([&](const Sysctl& s) {
    return !global(s) && has_link(s) && !is_late(s) && !(options.links_are_fresh && as_default(s));
  });
  TRY_ASSIGN(auto flags, put_flags(socket_, snapshot_.links, indexes_));
  for (auto& warning : flags) outcome_.warnings.push_back(std::move(warning));
  TRY(put_addresses());
  TRY(put_rules());
  TRY(put_routes());
  put_neighbours();
  put_sysctls([&](const Sysctl& s) { return is_late(s) && !is_accept_dad(s) && (global(s) || has_link(s)); });
  if (!unknown_sysctls_.empty()) {
    outcome_.warnings.push_back(
        fmt::format("sysctls that this kernel does not have: {}", fmt::join(unknown_sysctls_, ", ")));
  }
  return std::move(outcome_);
}

}  // namespace

Result<Outcome> put_back(const Snapshot& snapshot, const PutBackOptions& options) {
  TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_ROUTE));
  TRY_ASSIGN(auto outcome, Work(socket, snapshot).run(options));
  if (!options.settle) return outcome;
  TRY_ASSIGN(auto warnings, settle_links(snapshot, options.wait_for_carrier));
  for (auto& warning : warnings) outcome.warnings.push_back(std::move(warning));
  return outcome;
}

}  // namespace upkeep::net
