#include "engine/inspect/namespaces/network.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "net/links.h"
#include "net/snapshot.h"
#include "os/namespace.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr const char* kNetworkRemedy =
    "leave it out of what is carried, or start it without a network of its own";

// What is about a moment, or about others.
void forget_the_moment(net::Snapshot& snapshot) {
  snapshot.neighbours.clear();
  for (auto& link : snapshot.links) link.state = 0;
  constexpr std::uint32_t kForEver = ~0U;
  for (auto& address : snapshot.addresses) {
    if (address.valid != kForEver || address.preferred != kForEver) address.valid = address.preferred = 0;
  }
}

bool is_loopback(const net::Link& link) {
  constexpr std::uint16_t kLoopback = 772;  // ARPHRD_LOOPBACK
  return link.kind.empty() && link.hardware == kLoopback;
}

// ip-netns(8) keeps names as mounts of the namespace's file.
std::string name_of(std::uint64_t number) {
  const auto root = fmt::format("net:[{}]", number);
  const auto mounts = os::read_mountinfo(0);
  if (!mounts) return "";
  const auto named = std::ranges::find_if(
      *mounts, [&](const auto& mount) { return mount.fs_type == "nsfs" && mount.root == root; });
  return named == mounts->end() ? "" : named->mount_point;
}

}  // namespace

Result<std::string> read_network(pid_t pid, std::vector<Obstacle>& obstacles) {
  const auto refuse = [&](const std::string& what, std::string why) {
    obstacles.push_back({pid, what, std::move(why), kNetworkRemedy});
  };
  TRY_ASSIGN(const auto ns, os::open_namespace(pid, "net"));
  TRY_ASSIGN(const auto number, os::namespace_number(ns));
  if (const auto name = name_of(number); !name.empty())
    refuse("net namespace of its own", fmt::format("others find it by its name, {}", name));
  return os::in_namespace(ns, "net", [&]() -> Result<std::string> {
    TRY_ASSIGN(const auto findings, net::check_namespace());
    for (const auto& finding : findings) refuse("net namespace of its own, " + finding.what, finding.why);
    TRY_ASSIGN(auto snapshot, net::take_snapshot());
    forget_the_moment(snapshot);
    for (const auto& link : snapshot.links) {
      if (!is_loopback(link) && !net::made_by_module(link))
        refuse(fmt::format("net namespace of its own, link {}", link.name),
               "only the loopback device of a network namespace is made again by this version");
    }
    for (const auto& address : snapshot.addresses) {
      if (address.valid == 0)
        refuse("net namespace of its own", fmt::format("the address {} in it runs out", address.local));
    }
    return net::to_json(snapshot).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  });
}

HeldNetworks HeldNetworks::hold(const StoppedTree& tree) {
  HeldNetworks held;
  std::set<std::uint64_t> seen = {os::namespace_id(0, "net").value_or(0)};
  for (const auto& process : tree.processes()) {
    const auto number = os::namespace_id(process.pid, "net");
    if (process.zombie || !number || !seen.insert(*number).second) continue;
    auto ns = os::open_namespace(process.pid, "net");
    auto hold = ns ? os::in_namespace(*ns, "net", net::NamespaceHold::begin)
                   : Result<net::NamespaceHold>(tl::unexpected(std::move(ns).error()));
    if (hold)
      held.holds_.push_back(std::move(*hold));
    else
      held.error_ = hold.error().message();
  }
  return held;
}

Result<void> HeldNetworks::check_held(const Snapshot& snapshot) const {
  if (error_.empty()) return {};
  for (const auto& file : snapshot.files) {
    if (file.socket && file.socket->network != 0 && (file.socket->connection || file.socket->connecting))
      return Err("{}: a connection in a network namespace of its own, which cannot be held: {}", file.name,
                 error_);
  }
  return {};
}

}  // namespace upkeep::engine
