#pragma once
// nf_tables over netlink, as far as it is needed to hold traffic: requests, and their transaction.

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "os/netlink.h"

namespace upkeep::net {

// MESSAGE: NFT_MSG_...; of the family inet.
os::NetlinkRequest table_request(int message, int flags);
// A base chain of type filter at HOOK (NF_INET_...), before everything of anybody else's there. POLICY:
// NF_DROP or NF_ACCEPT.
os::NetlinkRequest base_chain(std::string_view table, std::string_view chain, std::uint32_t hook,
                              std::uint32_t policy);
// Expressions of a rule, added to LIST. The rule goes on only for packets of which KEY (NFT_META_...) is
// VALUE, as the kernel keeps it.
void expression(os::NetlinkRequest& list, const char* name,
                const std::function<void(os::NetlinkRequest&)>& data);
template <typename T>
void only_if(os::NetlinkRequest& list, std::uint32_t key, const T& value);
void verdict(os::NetlinkRequest& list, std::uint32_t code);
// All of it or nothing.
Result<void> in_one_transaction(os::NetlinkSocket& socket, std::vector<os::NetlinkRequest> requests);
// A chain counts for packets that come to its hook from now on; those past it are waited for.
void let_packets_pass();
// Idempotent; no error where there is no nf_tables.
Result<void> delete_table(std::string_view table);

template <typename T>
void only_if(os::NetlinkRequest& list, std::uint32_t key, const T& value) {
  expression(list, "meta", [key](os::NetlinkRequest& data) {
    data.number(NFTA_META_KEY, htonl(key)).number(NFTA_META_DREG, htonl(NFT_REG_1));
  });
  expression(list, "cmp", [&value](os::NetlinkRequest& data) {
    data.number(NFTA_CMP_SREG, htonl(NFT_REG_1)).number(NFTA_CMP_OP, htonl(NFT_CMP_EQ));
    data.nest(NFTA_CMP_DATA, [&value](os::NetlinkRequest& inside) { inside.number(NFTA_DATA_VALUE, value); });
  });
}

}  // namespace upkeep::net
