#include "net/hold.h"

#include <arpa/inet.h>
#include <linux/membarrier.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "os/netlink.h"

namespace upkeep::net {
namespace {

// Before NF_IP_PRI_RAW_BEFORE_DEFRAG (-450) is only its neighbour; at that value itself nothing of the
// kernel's own runs on these two hooks but defragmentation set-ups, which may see what is dropped next.
constexpr std::int32_t kPriority = -450;

constexpr std::uint16_t table_message(int message) {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message);
}

os::NetlinkRequest batch_edge(std::uint16_t type) {
  const nfgenmsg header = {AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)};
  return {type, 0, header};
}

os::NetlinkRequest table_request(int message, int flags) {
  const nfgenmsg header = {NFPROTO_INET, NFNETLINK_V0, 0};
  return {table_message(message), flags, header};
}

os::NetlinkRequest drop_chain(const char* name, std::uint32_t hook) {
  auto chain = table_request(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_ACK);
  chain.text(NFTA_CHAIN_TABLE, kHoldTable).text(NFTA_CHAIN_NAME, name);
  chain.nest(NFTA_CHAIN_HOOK, [&](auto& inside) {
    inside.number(NFTA_HOOK_HOOKNUM, htonl(hook));
    inside.number(NFTA_HOOK_PRIORITY, htonl(static_cast<std::uint32_t>(kPriority)));
  });
  chain.number(NFTA_CHAIN_POLICY, htonl(NF_DROP)).text(NFTA_CHAIN_TYPE, "filter");
  return chain;
}

Result<void> in_one_transaction(os::NetlinkSocket& socket, std::vector<os::NetlinkRequest> requests) {
  std::vector<os::NetlinkRequest> batch;
  batch.push_back(batch_edge(NFNL_MSG_BATCH_BEGIN));
  for (auto& request : requests) batch.push_back(std::move(request));
  batch.push_back(batch_edge(NFNL_MSG_BATCH_END));
  return socket.send(std::move(batch));
}

// A chain counts for packets that come to its hook from now on; those past it are waited for.
// MEMBARRIER_CMD_GLOBAL waits for an RCU grace period (and is refused on kernels booted with nohz_full=,
// where two milliseconds have to do).
void let_packets_pass() {
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0) ::usleep(2000);
}

}  // namespace

Result<void> hold_network() {
  TRY_ASSIGN(auto socket, os::NetlinkSocket::open(NETLINK_NETFILTER));
  std::vector<os::NetlinkRequest> requests;
  requests.push_back(table_request(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_ACK));
  requests.back().text(NFTA_TABLE_NAME, kHoldTable);
  requests.push_back(drop_chain("in", NF_INET_PRE_ROUTING));
  requests.push_back(drop_chain("out", NF_INET_LOCAL_OUT));
  TRY_IN("hold the network", in_one_transaction(socket, std::move(requests)));
  let_packets_pass();
  return {};
}

Result<void> release_network() {
  auto socket = os::NetlinkSocket::open(NETLINK_NETFILTER);
  if (!socket && socket.error().code() == EPROTONOSUPPORT) return {};
  if (!socket) return tl::unexpected(std::move(socket).error());
  TRY_ASSIGN(bool held, network_is_held());
  if (!held) return {};
  std::vector<os::NetlinkRequest> requests;
  requests.push_back(table_request(NFT_MSG_DELTABLE, NLM_F_ACK));
  requests.back().text(NFTA_TABLE_NAME, kHoldTable);
  auto done = in_one_transaction(*socket, std::move(requests));
  if (!done && done.error().code() != ENOENT)
    return tl::unexpected(std::move(done).error().in("open the network"));
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

std::vector<std::string> hold_modules() { return {"nfnetlink", "nf_tables"}; }

}  // namespace upkeep::net
