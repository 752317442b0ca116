#pragma once
// rtnetlink(7) messages to the plain data of snapshot.h and back. The parsers and builders are pure: tested
// without a kernel.

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "net/snapshot.h"
#include "os/netlink.h"

namespace upkeep::net {

// Index of a link in the snapshot -> its index now. A link that is not in it is not there.
using Indexes = std::map<int, int>;

// The bytes of a struct of the kernel's, as messages and packets hold them.
template <typename T>
std::string raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

Result<Link> parse_link(const os::NetlinkReply& reply);
Result<Address> parse_address(const os::NetlinkReply& reply);
// Nothing: an entry that is no configuration (cached, local ones of the kernel's own, unresolved neighbours).
Result<std::optional<Route>> parse_route(const os::NetlinkReply& reply);
Result<Rule> parse_rule(const os::NetlinkReply& reply);
Result<std::optional<Neighbour>> parse_neighbour(const os::NetlinkReply& reply);

// Everything of one kind that the socket's network namespace has.
Result<std::vector<Address>> read_addresses(os::NetlinkSocket& socket);
Result<std::vector<Route>> read_routes(os::NetlinkSocket& socket);
Result<std::vector<Rule>> read_rules(os::NetlinkSocket& socket);
Result<std::vector<Neighbour>> read_neighbours(os::NetlinkSocket& socket);

// The same thing with today's indexes; nothing where a link that it names is not there.
std::optional<Route> with_indexes(const Route& route, const Indexes& indexes);
// Equal but for lifetimes, which run down.
bool same_route(const Route& a, const Route& b);

// TYPE: RTM_NEW... or RTM_DEL...; FLAGS: NLM_F_CREATE and so on.
os::NetlinkRequest address_request(std::uint16_t type, int flags, const Address& address, int link);
os::NetlinkRequest route_request(std::uint16_t type, int flags, const Route& route);
os::NetlinkRequest rule_request(std::uint16_t type, int flags, const Rule& rule);
os::NetlinkRequest neighbour_request(int flags, const Neighbour& neighbour, int link);

// "10.0.0.1", "fe80::1"; "" where the bytes are no address of that family.
std::string address_text(int family, std::string_view bytes);
// The bytes of such a text; "" where it is none.
std::string address_bytes(int family, const std::string& text);
// "52:54:00:12:34:56" and back; any length.
std::string hardware_text(std::string_view bytes);
std::string hardware_bytes(std::string_view text);

}  // namespace upkeep::net
