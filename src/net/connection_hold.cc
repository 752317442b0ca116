#include "net/connection_hold.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "net/messages.h"
#include "net/nf_tables.h"

namespace upkeep::net {
namespace {

using os::NetlinkRequest;

// Of one family: where its addresses are in the header, and how they are looked up. The ports follow them.
struct Family {
  int family;
  const char* set;
  std::uint8_t protocol;  // NFPROTO_...
  std::uint32_t offset, addresses;
};
constexpr std::array<Family, 2> kFamilies = {
    {{AF_INET, "ipv4", NFPROTO_IPV4, 12, 8}, {AF_INET6, "ipv6", NFPROTO_IPV6, 8, 32}}};
constexpr std::uint32_t kPorts = 4;

std::string key_of(const std::string& from, std::uint16_t from_port, const std::string& to,
                   std::uint16_t to_port) {
  const std::array<std::uint16_t, 2> ports = {htons(from_port), htons(to_port)};
  std::string key = from + to;
  key.append(reinterpret_cast<const char*>(ports.data()), kPorts);
  return key;
}

NetlinkRequest make_set(const std::string& table, const Family& family, std::uint32_t id) {
  auto request = table_request(NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_ACK);
  request.text(NFTA_SET_TABLE, table).text(NFTA_SET_NAME, family.set);
  request.number(NFTA_SET_ID, htonl(id)).number(NFTA_SET_FLAGS, htonl(0U));
  request.number(NFTA_SET_KEY_TYPE, htonl(0U));  // for programs that print it
  request.number(NFTA_SET_KEY_LEN, htonl(family.addresses + kPorts));
  return request;
}

NetlinkRequest add_elements(const std::string& table, const Family& family, std::uint32_t id,
                            std::span<const std::string> keys) {
  auto request = table_request(NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_ACK);
  request.text(NFTA_SET_ELEM_LIST_TABLE, table).text(NFTA_SET_ELEM_LIST_SET, family.set);
  request.number(NFTA_SET_ELEM_LIST_SET_ID, htonl(id));
  request.nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&](NetlinkRequest& list) {
    for (const auto& key : keys) {
      list.nest(NFTA_LIST_ELEM, [&](NetlinkRequest& element) {
        element.nest(NFTA_SET_ELEM_KEY, [&](NetlinkRequest& data) { data.bytes(NFTA_DATA_VALUE, key); });
      });
    }
  });
  return request;
}

void load(NetlinkRequest& list, std::uint32_t base, std::uint32_t offset, std::uint32_t size,
          std::uint32_t to) {
  expression(list, "payload", [=](NetlinkRequest& data) {
    data.number(NFTA_PAYLOAD_DREG, htonl(to)).number(NFTA_PAYLOAD_BASE, htonl(base));
    data.number(NFTA_PAYLOAD_OFFSET, htonl(offset)).number(NFTA_PAYLOAD_LEN, htonl(size));
  });
}

NetlinkRequest drop_rule(const std::string& table, const char* chain, const Family& family,
                         std::uint32_t id) {
  auto request = table_request(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK);
  request.text(NFTA_RULE_TABLE, table).text(NFTA_RULE_CHAIN, chain);
  request.nest(NFTA_RULE_EXPRESSIONS, [&](NetlinkRequest& list) {
    only_if(list, NFT_META_NFPROTO, family.protocol);
    only_if(list, NFT_META_L4PROTO, std::uint8_t{IPPROTO_TCP});
    load(list, NFT_PAYLOAD_NETWORK_HEADER, family.offset, family.addresses, NFT_REG32_00);
    constexpr std::uint32_t kRegister = 4;
    load(list, NFT_PAYLOAD_TRANSPORT_HEADER, 0, kPorts, NFT_REG32_00 + family.addresses / kRegister);
    expression(list, "lookup", [&](NetlinkRequest& data) {
      data.text(NFTA_LOOKUP_SET, family.set).number(NFTA_LOOKUP_SREG, htonl(NFT_REG32_00));
      data.number(NFTA_LOOKUP_SET_ID, htonl(id));
    });
    verdict(list, NF_DROP);
  });
  return request;
}

// Both directions: over loopback both ends may be here.
Result<std::vector<std::string>> keys_of(const Family& family, const std::vector<TcpPeer>& connections) {
  std::vector<std::string> keys;
  for (const auto& one : connections) {
    if (one.family != family.family) continue;
    const auto ours = address_bytes(one.family, one.local), theirs = address_bytes(one.family, one.peer);
    if (ours.empty() || theirs.empty()) return Err("no addresses: '{}' and '{}'", one.local, one.peer);
    keys.push_back(key_of(ours, one.local_port, theirs, one.peer_port));
    keys.push_back(key_of(theirs, one.peer_port, ours, one.local_port));
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

Result<void> make_table(os::NetlinkSocket& socket, const std::string& name, std::uint32_t flags,
                        const std::vector<TcpPeer>& connections) {
  std::vector<NetlinkRequest> requests;
  requests.push_back(table_request(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK));
  requests.back().text(NFTA_TABLE_NAME, name).number(NFTA_TABLE_FLAGS, htonl(flags));
  requests.push_back(base_chain(name, "in", NF_INET_LOCAL_IN, NF_ACCEPT));
  requests.push_back(base_chain(name, "out", NF_INET_LOCAL_OUT, NF_ACCEPT));
  std::uint32_t id = 0;
  for (const auto& family : kFamilies) {
    TRY_ASSIGN(const auto keys, keys_of(family, connections));
    requests.push_back(make_set(name, family, ++id));
    constexpr std::size_t kAtOnce = 500;  // an attribute has less than 64 KB
    for (std::size_t at = 0; at < keys.size(); at += kAtOnce)
      requests.push_back(
          add_elements(name, family, id, std::span(keys).subspan(at, std::min(kAtOnce, keys.size() - at))));
    for (const char* chain : {"in", "out"}) requests.push_back(drop_rule(name, chain, family, id));
  }
  return in_one_transaction(socket, std::move(requests));
}

}  // namespace

Result<ConnectionHold> ConnectionHold::begin(std::vector<TcpPeer> connections) {
  TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_NETFILTER));
  constexpr std::uint32_t kWithOwner = 2;  // NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h
  TRY_IN("hold connections",
         make_table(socket, fmt::format("upkeep-{}", ::getpid()), kWithOwner, connections));
  let_packets_pass();
  return ConnectionHold(std::move(socket), std::move(connections));
}

Result<void> ConnectionHold::keep(const std::string& name) const {
  TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_NETFILTER));
  TRY_IN("go on holding connections", make_table(socket, name, 0, connections_));
  return {};
}

Result<void> release_connections(const std::string& name) {
  TRY_IN("let connections go on", delete_table(name));
  return {};
}

}  // namespace upkeep::net
