#pragma once
// Tasks that have restricted themselves by Landlock (os/landlock.h): nobody can read what they have forbidden
// themselves, and without it they would be free afterwards.

#include <sys/types.h>

#include <future>
#include <set>

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

class LandlockDomains {
 public:
  // Begins to look, beside whatever else is read: to learn how this kernel keeps them takes as long as all
  // that /proc tells of a small tree, the first time.
  LandlockDomains();
  // Those of the snapshot's tasks that are restricted, and that it cannot be told, are among its obstacles.
  void finish(Snapshot& snapshot);

 private:
  std::future<Result<std::set<pid_t>>> restricted_;
};

}  // namespace upkeep::engine
