#include "net/hold.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>

#include "net/nf_tables.h"
#include "os/put_back_mark.h"

namespace upkeep::net {
namespace {

os::NetlinkRequest let_pass_what_is_put_back(const char* chain) {
  auto request = table_request(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK);
  request.text(NFTA_RULE_TABLE, kHoldTable).text(NFTA_RULE_CHAIN, chain);
  request.nest(NFTA_RULE_EXPRESSIONS, [](os::NetlinkRequest& list) {
    only_if(list, NFT_META_MARK, os::kPutBackMark);
    verdict(list, NF_ACCEPT);
  });
  return request;
}

Result<void> make_hold_table(os::NetlinkSocket& socket, std::uint32_t flags) {
  std::vector<os::NetlinkRequest> requests;
  requests.push_back(table_request(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_ACK));
  requests.back().text(NFTA_TABLE_NAME, kHoldTable).number(NFTA_TABLE_FLAGS, htonl(flags));
  requests.push_back(base_chain(kHoldTable, "in", NF_INET_PRE_ROUTING, NF_DROP));
  requests.push_back(base_chain(kHoldTable, "out", NF_INET_LOCAL_OUT, NF_DROP));
  for (const char* chain : {"in", "out"}) requests.push_back(let_pass_what_is_put_back(chain));
  TRY_IN("hold the network", in_one_transaction(socket, std::move(requests)));
  let_packets_pass();
  return {};
}

}  // namespace

Result<void> hold_network() {
  TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_NETFILTER));
  return make_hold_table(socket, 0);
}

Result<NamespaceHold> NamespaceHold::begin() {
  constexpr std::uint32_t kWithOwner = 2;  // NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h
  TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_NETFILTER));
  TRY(make_hold_table(socket, kWithOwner));
  return NamespaceHold(std::move(socket));
}

Result<void> release_network() {
  TRY_ASSIGN(bool held, network_is_held());
  if (!held) return {};
  TRY_IN("open the network", delete_table(kHoldTable));
  return {};
}

Result<bool> network_is_held() {
  auto socket = os::NetlinkSocket::open(NETLINK_NETFILTER);
  if (!socket && socket.error().code() == EPROTONOSUPPORT) return false;
  if (!socket) return tl::unexpected(std::move(socket).error());
  auto request = table_request(NFT_MSG_GETTABLE, 0);
  request.text(NFTA_TABLE_NAME, kHoldTable);
  auto found = socket->query(request, [](const os::NetlinkReply&) -> Result<void> { return {}; });
  if (found) return true;
  // EINVAL: nfnetlink is there, nf_tables is not.
  if (found.error().code() == ENOENT || found.error().code() == EINVAL) return false;
  return tl::unexpected(std::move(found).error().in("look for the held network"));
}

}  // namespace upkeep::net
