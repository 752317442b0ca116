#include "net/links.h"

#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>

namespace upkeep::net {
namespace {

// Where the driver says the device sits: of a virtio NIC the PCI or MMIO device, not the number that virtio
// gave it.
std::string bus_by_ethtool(os::Fd socket, const std::string& name) {
  ethtool_drvinfo info = {};
  info.cmd = ETHTOOL_GDRVINFO;
  ifreq request = {};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&info);
  if (::ioctl(socket.get(), SIOCETHTOOL, &request) < 0) return "";
  info.bus_info[sizeof info.bus_info - 1] = '\0';
  const std::string bus = info.bus_info;
  return bus == "N/A" ? "" : bus;
}

int likeness(const Link& wanted, const Link& found) {
  const bool both_permanent = !wanted.permanent_address.empty() && !found.permanent_address.empty();
  if (both_permanent && wanted.permanent_address != found.permanent_address) return 0;
  int score = both_permanent ? 8 : 0;
  if (!wanted.bus.empty() && wanted.bus == found.bus) score += 4;
  if (!wanted.address.empty() && wanted.address == found.address) score += 2;
  if (wanted.name == found.name) score += 1;
  return score;
}

struct Candidate {
  int score;
  const Link* wanted;
  const Link* found;
};

void pair_physical(const std::vector<Link>& wanted, const std::vector<Link>& found, Pairing& pairing) {
  std::vector<Candidate> candidates;
  for (const auto& old : wanted) {
    for (const auto& now : found) {
      if (!old.physical() || !now.physical() || old.hardware != now.hardware) continue;
      if (int score = likeness(old, now)) candidates.push_back({score, &old, &now});
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  std::set<int> taken;
  for (const auto& candidate : candidates) {
    if (pairing.now.contains(candidate.wanted->index) || taken.contains(candidate.found->index)) continue;
    pairing.now[candidate.wanted->index] = candidate.found->index;
    taken.insert(candidate.found->index);
    if (candidate.score == 1)
      pairing.doubts.push_back(fmt::format("link {} is recognised by its name only", candidate.wanted->name));
  }
}

}  // namespace

Result<std::vector<Link>> read_links(os::NetlinkSocket& socket) {
  os::NetlinkRequest request(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  request.number(IFLA_EXT_MASK, std::uint32_t{RTEXT_FILTER_SKIP_STATS});
  std::vector<Link> links;
  TRY_IN("read links", socket.query(request, [&](const os::NetlinkReply& reply) -> Result<void> {
    if (reply.type != RTM_NEWLINK) return {};
    TRY_ASSIGN(auto link, parse_link(reply));
    links.push_back(std::move(link));
    return {};
  }));
  os::UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  for (auto& link : links) {
    if (!link.physical() || !any.valid()) continue;
    if (auto bus = bus_by_ethtool(any, link.name); !bus.empty()) link.bus = bus;
  }
  std::sort(links.begin(), links.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
  return links;
}

bool kind_supported(const std::string& kind) {
  static const std::set<std::string> kinds = {"", "bridge", "dummy", "veth", "vlan"};
  return kinds.contains(kind);
}

bool made_by_module(const Link& link) {
  static const std::set<std::string> names = {"sit0",    "tunl0",   "ip6tnl0",  "gre0",   "gretap0",
                                              "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"};
  return names.contains(link.name) && (link.flags & IFF_UP) == 0;
}

Pairing pair_links(const std::vector<Link>& wanted, const std::vector<Link>& found) {
  Pairing pairing;
  pair_physical(wanted, found, pairing);
  for (const auto& old : wanted) {
    if (old.physical()) continue;
    for (const auto& now : found) {
      const bool loopback = old.kind.empty() && now.kind.empty() && now.hardware == old.hardware;
      if (loopback || (!old.kind.empty() && old.kind == now.kind && old.name == now.name))
        pairing.now[old.index] = now.index;
    }
  }
  return pairing;
}

const Link* link_by_index(const std::vector<Link>& links, int index) {
  auto found =
      std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.index == index; });
  return found == links.end() ? nullptr : &*found;
}

os::NetlinkRequest change_link(int index) {
  ifinfomsg header = {};
  header.ifi_index = index;
  return {RTM_NEWLINK, 0, header};
}

os::NetlinkRequest bridge_setting(int index, const Attribute& setting) {
  auto request = change_link(index);
  request.nest(IFLA_LINKINFO, [&](auto& info) {
    info.text(IFLA_INFO_KIND, "bridge");
    info.nest(IFLA_INFO_DATA, [&](auto& data) { data.bytes(setting.type, setting.bytes); });
  });
  return request;
}

bool has_setting(const std::vector<Attribute>& settings, const Attribute& setting) {
  return std::find(settings.begin(), settings.end(), setting) != settings.end();
}

std::vector<const Link*> lower_first(const std::vector<Link>& links) {
  std::vector<const Link*> ordered;
  std::set<int> done;
  auto below_done = [&](const Link& link) {
    if (link.kind != "vlan") return true;  // veth: its other end is not below it
    return link.lower == 0 || link.lower_elsewhere || done.contains(link.lower) ||
           !link_by_index(links, link.lower);
  };
  while (ordered.size() < links.size()) {
    const std::size_t before = ordered.size();
    for (const auto& link : links) {
      if (done.contains(link.index) || !below_done(link)) continue;
      ordered.push_back(&link);
      done.insert(link.index);
    }
    if (ordered.size() == before) break;  // a circle: not made by any kernel
  }
  return ordered;
}

}  // namespace upkeep::net
