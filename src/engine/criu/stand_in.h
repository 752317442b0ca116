#pragma once
// Datagram sockets of programs that are not carried (/run/systemd/journal/dev-log, mostly), to which carried
// ones are connected. criu connects again by name, in a new kernel where nobody has bound that name yet:
// stand-ins are there for that moment. When they go, a sender gets ECONNREFUSED, which syslog(3) answers by
// connecting anew.

#include <string>
#include <vector>

#include "common/result.h"
#include "engine/carry_set.h"
#include "os/fd.h"

namespace upkeep::engine::criu {

// The names that TREE's sockets are connected to and that nobody in it has bound; "@name" for abstract ones.
std::vector<std::string> outside_names(const CarriedTree& tree);

class StandIns {
 public:
  StandIns() = default;
  // Names that are bound already are left alone.
  static Result<StandIns> bind(const std::vector<std::string>& names);
  StandIns(StandIns&&) noexcept = default;
  StandIns& operator=(StandIns&&) = delete;
  ~StandIns();

 private:
  struct StandIn {
    std::string path;  // to be unlinked; empty for abstract names
    os::UniqueFd socket;
  };
  std::vector<StandIn> all_;
};

}  // namespace upkeep::engine::criu
