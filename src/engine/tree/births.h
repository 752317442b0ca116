#pragma once
// How the processes of a tree can come into being again. Sessions and process groups cannot be given, only
// made, left and inherited: each process has to be made by one that is in the right session at that time.

#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <variant>
#include <vector>

#include "common/result.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {

// A process makes its children while it is still in the session that it was born into, or after setsid(2).
struct Birth {
  const Process* process = nullptr;
  std::vector<const Process*> before_setsid, after_setsid;  // its children
  std::vector<const Process*> children() const {            // all of them
    auto all = before_setsid;
    all.insert(all.end(), after_setsid.begin(), after_setsid.end());
    return all;
  }
};

// Children whose parent was never in their session: it has adopted them when theirs had ended. A stand-in
// takes the place of that one for as long as it takes to make them, and ends.
struct StandIn {
  std::int32_t session = 0;
  bool leads = false;              // the session, whose leader has ended, and has its ID; else any other one
  const Process* maker = nullptr;  // whose child it is; none: whoever rebuilds
  const Process* adopter = nullptr;  // whose children its children become; none: whoever rebuilds
  std::vector<const Process*> children;
};

using Step = std::variant<Birth, StandIn>;

// A process group whose leader has ended: a stand-in with its ID, made by MAKER, leads it until all are in it
// and it is in the foreground.
struct LostGroup {
  std::int32_t id = 0;
  const Process* maker = nullptr;
};

struct Births {
  std::vector<const Process*> roots;  // made by whoever rebuilds, directly
  std::vector<Step> steps;  // parents before children, leaders before what belongs to their sessions
  std::vector<LostGroup> lost_groups;
  std::vector<const Process*> left_groups;  // leaders that have left their groups to others
  std::unordered_map<std::int32_t, const Process*> makers;

  // Whose copy the process begins as, sometimes by way of a stand-in or a zombie. None: of whoever rebuilds.
  const Process* maker_of(const Process& process) const;
  // Of sessions and process groups whose leaders have ended.
  std::set<std::int32_t> stand_in_ids() const;
};

// The plan points into SNAPSHOT. What no order of calls can make is named. Takes any snapshot, and time that
// grows as its size.
tl::expected<Births, Obstacle> plan_births(const Snapshot& snapshot);

// All IDs that the tree needs where it is seen from outside: of processes, threads and stand-ins.
std::set<std::int32_t> needed_ids(const Snapshot& snapshot, const Births& births);

// Session keyrings that several of those have in common that begin as copies of whoever rebuilds: it has to
// join these before it makes them.
std::set<std::uint32_t> keyrings_of_many_roots(const Snapshot& snapshot, const Births& births);
// The one among them that a stand-in for roots has to have. None: any.
std::optional<std::uint32_t> keyring_for(const StandIn& stand_in, const std::set<std::uint32_t>& common);

}  // namespace upkeep::engine
