#pragma once
// Sockets of a snapshot, made anew.

#include <map>

#include "common/result.h"
#include "engine/native/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::native {

class Sockets {
 public:
  // To be called for all pairs before open() is called for one of their ends.
  Result<void> make_pair(const Socket& first, const Socket& second);
  Result<os::UniqueFd> open(const Socket& socket);

 private:
  std::map<std::uint64_t, os::UniqueFd> ends_;
};

}  // namespace upkeep::native
