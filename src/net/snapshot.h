#pragma once
// What a network namespace is set up like, read in the old kernel and put back in the new one: links,
// addresses, routes, rules, neighbours and sysctls. Addresses and routes are back before sockets are
// restored; so that a peer notices nothing, neighbours are back too (no ARP first) and IPv6 addresses are
// usable at once (no duplicate address detection).
//
// Not here: what is inside sockets (the engine's), other network namespaces (their tasks'), firewall rules,
// connection tracking, queueing disciplines other than default ones, bridge VLANs and static forwarding
// entries, XFRM: check() names those that are in use.

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/finding.h"
#include "common/result.h"

namespace upkeep::net {

// A netlink attribute as the kernel gave it. Routes and rules are handed back as they were read, as `ip route
// save` does: what one kernel dumps, it and newer ones take. JSON has the payload in hexadecimal.
struct Attribute {
  std::uint16_t type = 0;
  std::string bytes;
  bool operator==(const Attribute&) const = default;
};

struct Link {
  std::string name;
  int index = 0;
  std::uint16_t hardware = 0;     // ARPHRD_*: 1 Ethernet, 772 loopback
  std::string kind;               // "bridge", "vlan", ...; empty for a physical NIC and for lo
  std::string address;            // link layer address, "52:54:00:12:34:56"; "" where it has none
  std::string permanent_address;  // burnt in, "" where there is none
  std::string bus;  // "0000:00:03.0": where a physical NIC sits, by ethtool; the same under any kernel
  std::uint32_t mtu = 0;
  std::uint32_t queue_length = 0;  // txqueuelen, packets
  std::uint32_t group = 0;
  std::uint32_t flags = 0;  // IFF_*
  std::uint8_t state = 0;   // operational, RFC 2863 as in linux/if.h: 6 up, 0 unknown, ...
  std::string alias;
  std::vector<std::string> other_names;  // altname
  int master = 0;                        // index of the bridge that it is a port of; 0: none
  int lower = 0;                         // vlan: index of the link below; veth: index of the other end
  bool lower_elsewhere = false;          // that one is in another network namespace
  std::string qdisc;                     // of the root, by name
  std::vector<Attribute> kind_data;      // IFLA_INFO_DATA: what the kind can be told at creation
  std::vector<Attribute> port_data;      // IFLA_INFO_SLAVE_DATA of a bridge port, likewise

  bool physical() const { return kind.empty() && hardware != 772; }
  bool operator==(const Link&) const = default;
};

struct Address {
  int family = 0;                      // AF_INET or AF_INET6
  int link = 0;                        // index in the snapshot
  std::string local, peer, broadcast;  // as text; peer is "" where it is the same as local
  std::uint8_t prefix = 0, scope = 0;
  std::string label;          // IPv4 only
  std::uint32_t flags = 0;    // IFA_F_*
  std::uint8_t protocol = 0;  // IFA_PROTO, since 5.18: 1 loopback, 2 router advertisement, 3 link-local
  std::uint32_t metric = 0;   // IFA_RT_PRIORITY of its prefix route; 0: the default one
  std::uint32_t preferred = 0xffffffff, valid = 0xffffffff;  // seconds left; all ones: for ever
  bool operator==(const Address&) const = default;
};

struct Route {
  int family = 0;
  std::uint8_t destination_bits = 0, source_bits = 0, tos = 0;
  std::uint8_t protocol = 0, scope = 0, type = 0;  // RTPROT_*, RT_SCOPE_*, RTN_*
  std::uint32_t table = 0;
  std::uint32_t flags = 0;  // RTNH_F_ONLINK or 0
  std::vector<Attribute>
      attributes;    // RTA_*, ascending; without RTA_TABLE and what only describes the moment
  std::string text;  // for people: "10.0.0.0/8"
  bool operator==(const Route&) const = default;
};

struct Rule {
  int family = 0;
  std::uint8_t destination_bits = 0, source_bits = 0, tos = 0, table = 0, action = 0;
  std::uint32_t flags = 0;            // FIB_RULE_INVERT or 0
  std::vector<Attribute> attributes;  // FRA_*, ascending
  bool operator==(const Rule&) const = default;
};

struct Neighbour {
  int family = 0;
  int link = 0;
  std::string destination;
  std::string address;      // link layer; "" for a proxy entry
  std::uint16_t state = 0;  // NUD_PERMANENT, or NUD_STALE for whatever was known to work
  std::uint8_t flags = 0;   // NTF_ROUTER, NTF_PROXY, ...
  std::uint8_t protocol = 0;
  bool operator==(const Neighbour&) const = default;
};

// A value below /proc/sys/net, "ipv4/ip_forward".
struct Sysctl {
  std::string path, value;
  bool operator==(const Sysctl&) const = default;
};

struct Snapshot {
  std::vector<Link> links;  // ascending by index
  std::vector<Address> addresses;
  std::vector<Route> routes;
  std::vector<Rule> rules;
  std::vector<Neighbour> neighbours;
  std::vector<Sysctl> sysctls;
  bool operator==(const Snapshot&) const = default;
};

nlohmann::json to_json(const Snapshot& snapshot);
Result<Snapshot> snapshot_from_json(const nlohmann::json& json);

// Reads the network namespace of the calling thread. Sysctls are most of the time that it takes (hundreds of
// files); who has read them a moment ago, before the window, gives those, and they are not read again.
Result<Snapshot> take_snapshot(const std::vector<Sysctl>& known_sysctls = {});

struct PutBackOptions {
  // Links that are there already are as the kernel made them, with the sysctls of `default`: those need not
  // be read then.
  bool links_are_fresh = true;
  std::chrono::milliseconds wait_for_links = std::chrono::seconds(10);  // for physical NICs to appear
  // With settle_links() at the end. A caller that has something else to do while a NIC negotiates (seconds,
  // on real wires) says false and calls that itself before it opens the network.
  bool settle = true;
  std::chrono::milliseconds wait_for_carrier = std::chrono::seconds(5);
};

struct Outcome {
  std::vector<std::string> warnings;  // what could not be put back, each in one line
  unsigned links_made = 0, addresses_added = 0, routes_added = 0, sysctls_written = 0;
};

// Makes the calling thread's network namespace like the snapshot. Idempotent: what is already as it was is
// left alone. Nothing that was added by somebody else is taken away, only what the kernel made by itself and
// the snapshot does not have. An error only where nothing useful could be done at all; everything else is a
// warning of the outcome.
//
// Physical NICs are recognised by permanent address or place on the bus and get their old name and index back
// (an index by a round trip through a network namespace, IFLA_NEW_IFINDEX, Linux 5.13).
Result<Outcome> put_back(const Snapshot& snapshot, const PutBackOptions& options = {});

// Waits until the links that had a carrier have one; only then spanning trees and duplicate address
// detection, which put_back() leaves switched off, are as they were. Warnings.
Result<std::vector<std::string>> settle_links(const Snapshot& snapshot,
                                              std::chrono::milliseconds wait_for_carrier);

// What of the running network could not be put back in this version, and what to do about it.
Result<std::vector<Finding>> check();

// The same of the calling thread's network namespace, where that is one which is to be made again as a whole:
// nothing makes up for what is missing then.
Result<std::vector<Finding>> check_namespace();

// Kernel modules that putting this back needs beside the NICs' drivers: bridge, 8021q, sch_fq_codel, tcp_bbr,
// ... Built-in ones are among them; whoever packs modules knows which exist.
std::vector<std::string> modules_of(const Snapshot& snapshot);

}  // namespace upkeep::net
