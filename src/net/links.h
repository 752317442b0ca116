#pragma once
// The links of a network namespace as they are, and which of them is which of the snapshot's.

#include <string>
#include <vector>

#include "common/result.h"
#include "net/messages.h"
#include "net/snapshot.h"
#include "os/netlink.h"

namespace upkeep::net {

Result<std::vector<Link>> read_links(os::NetlinkSocket& socket);

// Kinds that put_back() makes again.
bool kind_supported(const std::string& kind);
// Made by the kernel's own modules in every namespace, unused: sit0, tunl0, ...
bool made_by_module(const Link& link);

struct Pairing {
  Indexes now;                      // snapshot's index -> index now
  std::vector<std::string> doubts;  // matched by name only
};
// Virtual links are known by name and kind; physical ones by permanent address, place on the bus, address,
// name, in this order of weight. Two different permanent addresses never are the same link.
Pairing pair_links(const std::vector<Link>& wanted, const std::vector<Link>& found);

const Link* link_by_index(const std::vector<Link>& links, int index);

// Links below before those on top of them.
std::vector<const Link*> lower_first(const std::vector<Link>& links);

// Names, indexes, virtual links, ports, addresses, MTUs and so on: all but the flags, for which addresses
// wait.
struct PutLinks {
  Indexes indexes;
  std::vector<std::string> warnings;
  unsigned made = 0;
};
Result<PutLinks> put_links(os::NetlinkSocket& socket, const std::vector<Link>& wanted,
                           std::chrono::milliseconds wait_for_physical);

// Up or down, promiscuous and so on, as they were. Warnings.
Result<std::vector<std::string>> put_flags(os::NetlinkSocket& socket, const std::vector<Link>& wanted,
                                           const Indexes& indexes);
// Waits until the links that had a carrier have one; the names of those that do not get one in time.
Result<std::vector<std::string>> wait_for_carriers(os::NetlinkSocket& socket, const std::vector<Link>& wanted,
                                                   const Indexes& indexes, std::chrono::milliseconds timeout);
// Switches spanning trees on where they were. Only once the ports forward: a port that comes up while its
// bridge runs the protocol listens and learns for twice the forward delay, 30 s; one that forwards already
// goes on.
Result<std::vector<std::string>> start_spanning_trees(os::NetlinkSocket& socket,
                                                      const std::vector<Link>& wanted,
                                                      const Indexes& indexes);

// A link that came up together with the one below it may stay in the state "unknown" where the old one's was
// "up".
Result<void> put_states(os::NetlinkSocket& socket, const std::vector<Link>& wanted, const Indexes& indexes);

// Requests that change a link: an empty one, and one that makes a single setting of a bridge.
os::NetlinkRequest change_link(int index);
os::NetlinkRequest bridge_setting(int index, const Attribute& setting);
bool has_setting(const std::vector<Attribute>& settings, const Attribute& setting);

}  // namespace upkeep::net
