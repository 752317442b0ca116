#pragma once
// What put_back() and settle_links() both do: taking away what the new kernel made by itself and the old one
// did not have.

#include <string>
#include <vector>

#include "common/result.h"
#include "net/messages.h"
#include "net/snapshot.h"
#include "os/netlink.h"

namespace upkeep::net {

inline bool is_accept_dad(const Sysctl& sysctl) { return sysctl.path.ends_with("/accept_dad"); }

// The same address on LINK, whatever its flags and lifetimes.
bool same_place(const Address& wanted, const Address& now, int link);

// The snapshot's routes with today's indexes; those through links that are not there are left out.
std::vector<Route> routes_now(const Snapshot& snapshot, const Indexes& indexes);

// Routes that came by themselves with the addresses, and that the old kernel did not have (any more).
Result<void> remove_uncalled_routes(os::NetlinkSocket& socket, const std::vector<Route>& wanted,
                                    std::vector<std::string>& warnings);

}  // namespace upkeep::net
