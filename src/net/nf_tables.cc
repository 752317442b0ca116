#include "net/nf_tables.h"

#include <arpa/inet.h>
#include <linux/membarrier.h>
#include <linux/netfilter.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace upkeep::net {
namespace {

// Before NF_IP_PRI_RAW_BEFORE_DEFRAG (-450) is only its neighbour; at that value itself nothing of the
// kernel's own runs on these hooks but defragmentation set-ups, which may see what is dropped next.
constexpr std::int32_t kPriority = -450;

constexpr std::uint16_t table_message(int message) {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message);
}

os::NetlinkRequest batch_edge(std::uint16_t type) {
  const nfgenmsg header = {AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)};
  return {type, 0, header};
}

}  // namespace

os::NetlinkRequest table_request(int message, int flags) {
  const nfgenmsg header = {NFPROTO_INET, NFNETLINK_V0, 0};
  return {table_message(message), flags, header};
}

os::NetlinkRequest base_chain(std::string_view table, std::string_view chain, std::uint32_t hook,
                              std::uint32_t policy) {
  auto request = table_request(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_ACK);
  request.text(NFTA_CHAIN_TABLE, table).text(NFTA_CHAIN_NAME, chain);
  request.nest(NFTA_CHAIN_HOOK, [&](auto& inside) {
    inside.number(NFTA_HOOK_HOOKNUM, htonl(hook));
    inside.number(NFTA_HOOK_PRIORITY, htonl(static_cast<std::uint32_t>(kPriority)));
  });
  request.number(NFTA_CHAIN_POLICY, htonl(policy)).text(NFTA_CHAIN_TYPE, "filter");
  return request;
}

void expression(os::NetlinkRequest& list, const char* name,
                const std::function<void(os::NetlinkRequest&)>& data) {
  list.nest(NFTA_LIST_ELEM, [&](os::NetlinkRequest& element) {
    element.text(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, data);
  });
}

void verdict(os::NetlinkRequest& list, std::uint32_t code) {
  expression(list, "immediate", [code](os::NetlinkRequest& data) {
    data.number(NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT));
    data.nest(NFTA_IMMEDIATE_DATA, [code](os::NetlinkRequest& inside) {
      inside.nest(NFTA_DATA_VERDICT,
                  [code](os::NetlinkRequest& its) { its.number(NFTA_VERDICT_CODE, htonl(code)); });
    });
  });
}

Result<void> in_one_transaction(os::NetlinkSocket& socket, std::vector<os::NetlinkRequest> requests) {
  std::vector<os::NetlinkRequest> batch;
  batch.push_back(batch_edge(NFNL_MSG_BATCH_BEGIN));
  for (auto& request : requests) batch.push_back(std::move(request));
  batch.push_back(batch_edge(NFNL_MSG_BATCH_END));
  return socket.send(std::move(batch));
}

// MEMBARRIER_CMD_GLOBAL waits for an RCU grace period (and is refused on kernels booted with nohz_full=,
// where two milliseconds have to do).
void let_packets_pass() {
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0) ::usleep(2000);
}

Result<void> delete_table(std::string_view table) {
  auto socket = os::NetlinkSocket::open(NETLINK_NETFILTER);
  if (!socket && socket.error().code() == EPROTONOSUPPORT) return {};
  if (!socket) return tl::unexpected(std::move(socket).error());
  std::vector<os::NetlinkRequest> requests;
  requests.push_back(table_request(NFT_MSG_DELTABLE, NLM_F_ACK));
  requests.back().text(NFTA_TABLE_NAME, table);
  auto done = in_one_transaction(*socket, std::move(requests));
  if (!done && done.error().code() != ENOENT) return done;
  return {};
}

}  // namespace upkeep::net
