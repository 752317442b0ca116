#pragma once
// A socket while it is read, and what all who read a part of it share.

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/inspect/calls/look.h"
#include "engine/inspect/calls/reason.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"
#include "os/netlink.h"
#include "os/survivor.h"

namespace upkeep::engine {

// Descriptors on their way through a socket, taken out of it by looking, as descriptors of our own.
struct InFlight {
  std::size_t message = 0;  // of Socket::unread
  std::vector<os::UniqueFd> descriptors;
};

// Who is asked about sockets (sock_diag(7)), from the first time on.
struct SocketDiag {
  std::optional<os::NetlinkSocket> socket;
};

// A socket that is being read, through a descriptor of our own.
struct SocketReading {
  os::Fd fd;
  Look tasks;       // unread data is looked at only where they stand still: else a task may be looking itself
  os::Fd own_root;  // our root directory, wherever names lead now
  Socket& socket;
  std::vector<Reason> reasons = {};  // why it cannot be made again; empty where it can
  std::vector<Reason> losses = {};   // what is not carried with it
  std::vector<InFlight> in_flight = {};
  SocketDiag* own_diag = nullptr;    // none where it belongs to another network than ours
  os::Survivor* survivor = nullptr;  // puts back what is changed for a look if we end during it

  void refuse(std::string why, std::string remedy = "") {
    reasons.push_back({std::move(why), std::move(remedy)});
  }
  // An option of its that is about to be changed for a moment.
  os::Survivor::Promise will_put_back(int level, int name, int value) const {
    if (survivor == nullptr) return {};
    return survivor->promise({{fd.get(), level, name, value}});
  }
  // Of those that the network fills, and that cannot be filled again.
  void refuse_unread_packets() { refuse("packets that it has not read cannot be put back", kTryAgain); }
};

// Of a connection. Our own are in it, too, between their making and the end of a rebuild.
inline constexpr const char* kLeftInRepairMode =
    "it is in repair mode: somebody else's checkpoint of it was broken off";

}  // namespace upkeep::engine
