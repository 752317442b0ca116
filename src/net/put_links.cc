#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>

#include <algorithm>
#include <optional>
#include <set>
#include <thread>

#include "net/links.h"
#include "os/file.h"

namespace upkeep::net {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

ifinfomsg header_of(int index) {
  ifinfomsg header = {};
  header.ifi_index = index;
  return header;
}

// A network namespace that nothing else is in: the way by which a device gets another index.
struct Scratch {
  os::UniqueFd ours, fresh;
  std::optional<os::NetlinkSocket> socket;  // inside the fresh one
};

Result<Scratch> make_scratch() {
  constexpr const char* kNamespace = "/proc/thread-self/ns/net";
  Scratch scratch;
  TRY_ASSIGN(scratch.ours, os::open_file(kNamespace, O_RDONLY));
  Result<void> entered;
  // A thread of its own: if anything fails this one never was anywhere else.
  std::thread([&] {
    entered = [&]() -> Result<void> {
      if (::unshare(CLONE_NEWNET) < 0) return ErrnoErr("unshare the network");
      TRY_ASSIGN(scratch.fresh, os::open_file(kNamespace, O_RDONLY));
      TRY_ASSIGN(scratch.socket, os::NetlinkSocket::open(NETLINK_ROUTE));
      return {};
    }();
  }).join();
  TRY(entered);
  return scratch;
}

class LinkWork {
 public:
  LinkWork(os::NetlinkSocket& socket, const std::vector<Link>& wanted) : socket_(socket), wanted_(wanted) {}

  Result<PutLinks> run(milliseconds wait_for_physical);

 private:
  Result<void> look();
  Result<void> wait_for(milliseconds limit);
  void fix_indexes();
  void fix_names();
  void make_missing();
  Result<void> make(const Link& link);
  void fix_masters();
  void fix_settings(const Link& link, const Link& now);
  void fix_bridge(const Link& link, const Link& now);
  void fix_other_names(const Link& link, const Link& now);
  const Link* now(const Link& link) const;
  bool try_or_warn(const Result<void>& done, const std::string& what);

  os::NetlinkSocket& socket_;
  const std::vector<Link>& wanted_;
  std::vector<Link> found_;
  Pairing pairing_;
  PutLinks result_;
};

const Link* LinkWork::now(const Link& link) const {
  auto index = pairing_.now.find(link.index);
  return index == pairing_.now.end() ? nullptr : link_by_index(found_, index->second);
}

bool LinkWork::try_or_warn(const Result<void>& done, const std::string& what) {
  if (!done) result_.warnings.push_back(fmt::format("{}: {}", what, done.error().message()));
  return done.has_value();
}

Result<void> LinkWork::look() {
  TRY_ASSIGN(found_, read_links(socket_));
  pairing_ = pair_links(wanted_, found_);
  return {};
}

// Drivers probe while PID 1 runs: each NIC announces itself.
Result<void> LinkWork::wait_for(milliseconds limit) {
  const auto end = Clock::now() + limit;
  TRY_ASSIGN(auto events, os::NetlinkSocket::open(NETLINK_ROUTE));
  TRY(events.join(RTNLGRP_LINK));
  for (;;) {
    TRY(look());
    const bool all = std::all_of(wanted_.begin(), wanted_.end(),
                                 [&](const Link& link) { return !link.physical() || now(link); });
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    if (all || left.count() <= 0) return {};
    TRY(events.wait(left, [](const os::NetlinkReply&) -> Result<void> { return {}; }));
  }
}

// Programs remember indexes. A device cannot change its index where it is, but may choose one when it comes
// from another network namespace (Linux 5.13). All go out first, so that two can swap.
void LinkWork::fix_indexes() {
  struct Move {
    std::string name;
    int wanted;
  };
  std::vector<Move> moves;
  for (const auto& link : wanted_) {
    const Link* found = now(link);
    if (!found || found->index == link.index || found->kind == "bridge") continue;
    if ((found->flags & IFF_UP) != 0 || found->master != 0) {
      result_.warnings.push_back(fmt::format("link {} is in use with index {}; it was {} before", found->name,
                                             found->index, link.index));
      continue;
    }
    moves.push_back({found->name, link.index});
  }
  if (moves.empty()) return;
  auto scratch = make_scratch();
  if (!scratch) {
    result_.warnings.push_back(fmt::format("link indexes differ from before: {}", scratch.error().message()));
    return;
  }
  std::vector<Move> out;
  for (const auto& move : moves) {
    auto request = change_link(0);
    request.text(IFLA_IFNAME, move.name).number(IFLA_NET_NS_FD, scratch->fresh.get());
    if (try_or_warn(socket_.send(std::move(request)),
                    fmt::format("index {} for link {}", move.wanted, move.name)))
      out.push_back(move);
  }
  for (const auto& move : out) {
    auto back = change_link(0);
    back.text(IFLA_IFNAME, move.name).number(IFLA_NET_NS_FD, scratch->ours.get());
    auto with_index = back;
    with_index.number(IFLA_NEW_IFINDEX, move.wanted);
    auto done = scratch->socket->send(std::move(with_index));
    if (try_or_warn(done, fmt::format("index {} for link {}", move.wanted, move.name))) continue;
    try_or_warn(scratch->socket->send(std::move(back)), fmt::format("bring link {} back", move.name));
  }
  try_or_warn(look(), "links");
}

void LinkWork::fix_names() {
  auto rename = [&](int index, const std::string& from, const std::string& to) {
    auto request = change_link(index);
    request.text(IFLA_IFNAME, to);
    return try_or_warn(socket_.send(std::move(request)), fmt::format("rename link {} to {}", from, to));
  };
  std::set<std::string> claimed;
  for (const auto& link : wanted_) {
    const Link* found = now(link);
    if (found && found->name != link.name) claimed.insert(link.name);
  }
  if (claimed.empty()) return;
  // Whoever has a name that belongs to another steps aside first.
  for (auto& found : found_) {
    if (!claimed.contains(found.name)) continue;
    const std::string aside = fmt::format("aside{}", found.index);
    if (rename(found.index, found.name, aside)) found.name = aside;
  }
  for (const auto& link : wanted_) {
    const Link* found = now(link);
    if (found && found->name != link.name) rename(found->index, found->name, link.name);
  }
  try_or_warn(look(), "links");
}

Result<void> LinkWork::make(const Link& link) {
  os::NetlinkRequest request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, header_of(link.index));
  request.text(IFLA_IFNAME, link.name);
  if (link.kind == "vlan") {
    auto lower = pairing_.now.find(link.lower);
    if (lower == pairing_.now.end() || link.lower_elsewhere) return Err("the link below it is not there");
    request.number(IFLA_LINK, lower->second);
  }
  request.nest(IFLA_LINKINFO, [&](auto& info) {
    info.text(IFLA_INFO_KIND, link.kind);
    if (link.kind == "vlan") {
      info.nest(IFLA_INFO_DATA, [&](auto& data) {
        for (const auto& attribute : link.kind_data) data.bytes(attribute.type, attribute.bytes);
      });
    }
    const Link* other = link.kind == "veth" ? link_by_index(wanted_, link.lower) : nullptr;
    if (other) {
      info.nest(IFLA_INFO_DATA, [&](auto& data) {
        data.nest(VETH_INFO_PEER, [&](auto& peer) {
          peer.structure(header_of(other->index));
          peer.text(IFLA_IFNAME, other->name);
        });
      });
    }
  });
  return socket_.send(std::move(request));
}

void LinkWork::make_missing() {
  for (const Link* link : lower_first(wanted_)) {
    if (now(*link) || made_by_module(*link)) continue;
    const std::string what = fmt::format("link {}", link->name);
    if (link->physical()) {
      result_.warnings.push_back(what + ": no such device in this kernel");
    } else if (!kind_supported(link->kind)) {
      result_.warnings.push_back(
          fmt::format("{} of kind {} cannot be put back in this version", what, link->kind));
    } else if (link->kind == "veth" && (link->lower_elsewhere || !link_by_index(wanted_, link->lower))) {
      result_.warnings.push_back(what + ": its other end is in another network namespace");
    } else {
      auto done = make(*link);
      if (!done && done.error().code() == EBUSY) {  // the index is taken
        result_.warnings.push_back(fmt::format("{}: index {} is taken by another link", what, link->index));
        Link anywhere = *link;
        anywhere.index = 0;
        done = make(anywhere);
      }
      if (try_or_warn(done, what)) ++result_.made;
      try_or_warn(look(), what);
    }
  }
}

void LinkWork::fix_masters() {
  for (const auto& link : wanted_) {
    const Link* found = now(link);
    if (!found || link.master == 0) continue;
    auto master = pairing_.now.find(link.master);
    const std::string what = fmt::format("link {} as a port", link.name);
    if (master == pairing_.now.end()) {
      result_.warnings.push_back(what + ": the link that it belonged to is not there");
      continue;
    }
    if (found->master != master->second) {
      auto request = change_link(found->index);
      request.number(IFLA_MASTER, master->second);
      if (!try_or_warn(socket_.send(std::move(request)), what)) continue;
    } else if (found->port_data == link.port_data) {
      continue;
    }
    if (link.port_data.empty()) continue;
    auto request = change_link(found->index);
    request.nest(IFLA_LINKINFO, [&](auto& info) {
      info.text(IFLA_INFO_SLAVE_KIND, "bridge");
      info.nest(IFLA_INFO_SLAVE_DATA, [&](auto& data) {
        for (const auto& attribute : link.port_data) data.bytes(attribute.type, attribute.bytes);
      });
    });
    try_or_warn(socket_.send(std::move(request)), what);
  }
}

void LinkWork::fix_other_names(const Link& link, const Link& found) {
  for (const auto& name : link.other_names) {
    if (std::find(found.other_names.begin(), found.other_names.end(), name) != found.other_names.end())
      continue;
    os::NetlinkRequest request(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND,
                               header_of(found.index));
    request.nest(IFLA_PROP_LIST, [&](auto& names) { names.text(IFLA_ALT_IFNAME, name); });
    try_or_warn(socket_.send(std::move(request)), fmt::format("other name {} of link {}", name, link.name));
  }
}

void LinkWork::fix_settings(const Link& link, const Link& found) {
  auto set = [&](auto add, const char* what) {
    auto request = change_link(found.index);
    add(request);
    try_or_warn(socket_.send(std::move(request)), fmt::format("{} of link {}", what, link.name));
  };
  if (link.address != found.address && !link.address.empty()) {
    set([&](auto& r) { r.bytes(IFLA_ADDRESS, hardware_bytes(link.address)); }, "hardware address");
  }
  if (link.mtu != found.mtu) set([&](auto& r) { r.number(IFLA_MTU, link.mtu); }, "MTU");
  if (link.queue_length != found.queue_length)
    set([&](auto& r) { r.number(IFLA_TXQLEN, link.queue_length); }, "queue length");
  if (link.group != found.group) set([&](auto& r) { r.number(IFLA_GROUP, link.group); }, "group");
  if (link.alias != found.alias) set([&](auto& r) { r.bytes(IFLA_IFALIAS, link.alias); }, "alias");
  fix_other_names(link, found);
}

// One by one: a kernel built without one of these features refuses that one only.
void LinkWork::fix_bridge(const Link& link, const Link& found) {
  for (const auto& setting : link.kind_data) {
    if (setting.type == IFLA_BR_STP_STATE || has_setting(found.kind_data, setting)) continue;
    try_or_warn(socket_.send(bridge_setting(found.index, setting)),
                fmt::format("setting {} of bridge {}", setting.type, link.name));
  }
}

Result<PutLinks> LinkWork::run(milliseconds wait_for_physical) {
  TRY(wait_for(wait_for_physical));
  fix_indexes();
  fix_names();
  make_missing();
  // Before there are ports, which start by them.
  for (const auto& link : wanted_) {
    const Link* found = now(link);
    if (found && link.kind == "bridge") fix_bridge(link, *found);
  }
  fix_masters();
  TRY(look());  // a bridge takes its address and MTU from its ports
  for (const Link* link : lower_first(wanted_)) {
    if (const Link* found = now(*link)) fix_settings(*link, *found);
  }
  result_.indexes = pairing_.now;
  for (auto& doubt : pairing_.doubts) result_.warnings.push_back(std::move(doubt));
  return std::move(result_);
}

}  // namespace

Result<PutLinks> put_links(os::NetlinkSocket& socket, const std::vector<Link>& wanted,
                           milliseconds wait_for_physical) {
  return LinkWork(socket, wanted).run(wait_for_physical);
}

}  // namespace upkeep::net
