#pragma once
// nf_tables over netlink, as far as it is needed to hold traffic: requests, and their transaction.

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstdint>
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
// All of it or nothing.
Result<void> in_one_transaction(os::NetlinkSocket& socket, std::vector<os::NetlinkRequest> requests);
// A chain counts for packets that come to its hook from now on; those past it are waited for.
void let_packets_pass();
// Idempotent; no error where there is no nf_tables.
Result<void> delete_table(std::string_view table);

}  // namespace upkeep::net
