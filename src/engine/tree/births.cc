#include "engine/tree/births.h"

#include <map>

#include "engine/tree/inner_ids.h"
#include "engine/tree/process_groups.h"

namespace upkeep::engine {
namespace {

bool leads_session(const Process& process) { return process.session == process.pid; }

// Who is whose child, and who is above whom: the numbers of all below a process lie between its own two.
class Lineage {
 public:
  explicit Lineage(const Snapshot& snapshot)
      : first_(snapshot.processes.data()),
        children_(snapshot.processes.size()),
        spans_(snapshot.processes.size()) {
    for (const auto& process : snapshot.processes) {
      const auto* parent = snapshot.find(process.ppid);
      (parent == nullptr ? roots_ : children_[index_of(*parent)]).push_back(&process);
    }
    for (const auto* root : roots_) number(*root);
  }
  std::size_t index_of(const Process& process) const { return static_cast<std::size_t>(&process - first_); }
  const std::vector<const Process*>& roots() const { return roots_; }
  const std::vector<const Process*>& children(const Process& process) const {
    return children_[index_of(process)];
  }
  bool is_above(const Process& upper, const Process& lower) const {
    const auto &outer = spans_[index_of(upper)], &inner = spans_[index_of(lower)];
    return outer.begin < inner.begin && inner.end < outer.end;
  }

 private:
  struct Span {
    std::size_t begin = 0, end = 0;
  };

  void number(const Process& root) {
    struct Visit {
      const Process* process;
      std::size_t next;  // of its children
    };
    std::vector<Visit> line = {{&root, 0}};
    spans_[index_of(root)].begin = ++last_number_;
    while (!line.empty()) {
      const auto& its = children(*line.back().process);
      if (line.back().next == its.size()) {
        spans_[index_of(*line.back().process)].end = ++last_number_;
        line.pop_back();
        continue;
      }
      const auto* child = its[line.back().next++];
      spans_[index_of(*child)].begin = ++last_number_;
      line.push_back({child, 0});
    }
  }

  const Process* first_;
  std::vector<std::vector<const Process*>> children_;
  std::vector<Span> spans_;
  std::vector<const Process*> roots_;
  std::size_t last_number_ = 0;
};

Obstacle in_its_session(const Process& process, std::int32_t session, std::string why) {
  return {process.pid, fmt::format("session {}", session), std::move(why), "start it with setsid"};
}

class Planner {
 public:
  explicit Planner(const Snapshot& snapshot)
      : snapshot_(snapshot), lineage_(snapshot), born_into_(snapshot.processes.size()) {}

  tl::expected<Births, Obstacle> plan() {
    choose_sessions();
    if (auto obstacle = sort_children()) return tl::unexpected(std::move(*obstacle));
    if (auto obstacle = put_in_order()) return tl::unexpected(std::move(*obstacle));
    if (auto obstacle = plan_groups(snapshot_, births_)) return tl::unexpected(std::move(*obstacle));
    return std::move(births_);
  }

 private:
  // Where processes are adopted into.
  struct Place {
    std::int32_t session, adopter;  // 0: whoever rebuilds
    bool operator<(const Place& other) const {
      return std::pair(session, adopter) < std::pair(other.session, other.adopter);
    }
  };

  std::int32_t& born_into(const Process& process) { return born_into_[lineage_.index_of(process)]; }

  // A parent that is above the leader of a session was there before it, and so never in it.
  bool was_never_in(const Process& parent, const Process& leader) const {
    return lineage_.is_above(parent, leader) || &parent == &leader;
  }

  // The session that each process has to be born into; 0: any will do. Children come first, because they may
  // ask for one on behalf of a parent that has left it by setsid(2).
  void choose_sessions() {
    for (auto it = snapshot_.processes.rbegin(); it != snapshot_.processes.rend(); ++it)
      born_into(*it) = leads_session(*it) ? session_before(*it) : it->session;
  }

  // Of one that leads a session. What children ask for whose leader is still there has to be; where it has
  // ended, a stand-in would do too.
  std::int32_t session_before(const Process& leader) {
    std::int32_t may_be = 0;
    for (const auto* child : lineage_.children(leader)) {
      const auto session = born_into(*child);
      if (session == 0 || session == leader.session) continue;
      // One that was made inside of a PID namespace was not there before the first process in there.
      if (is_init(leader) && seen_by(leader, session, child->inner_sessions) != 0) continue;
      const auto* its_leader = snapshot_.find(session);
      if (its_leader != nullptr && !was_never_in(leader, *its_leader)) return session;
      if (its_leader == nullptr && may_be == 0) may_be = session;
    }
    return may_be;
  }

  bool can_make(const Process& parent, const Process& child) {
    const auto session = born_into(child);
    return session == 0 || session == parent.session || session == born_into(parent);
  }

  std::optional<Obstacle> sort_children() {
    for (const auto* root : lineage_.roots()) {
      if (born_into(*root) == 0)
        births_.roots.push_back(root);
      else if (auto obstacle = add_adopted(*root, nullptr))
        return obstacle;
    }
    for (const auto& process : snapshot_.processes) {
      for (const auto* child : lineage_.children(process)) {
        if (can_make(process, *child)) continue;
        if (auto obstacle = add_adopted(*child, &process)) return obstacle;
      }
    }
    return {};
  }

  std::optional<Obstacle> add_adopted(const Process& child, const Process* adopter) {
    const auto session = born_into(child);
    const auto* leader = snapshot_.find(session);
    const auto* maker = leader != nullptr ? leader : adopter;
    if (leader != nullptr && !leads_session(*leader))
      return in_its_session(child, session, fmt::format("process {} does not lead it", session));
    if (leader != nullptr && adopter != nullptr && !lineage_.is_above(*adopter, *leader))
      return in_its_session(child, session,
                            fmt::format("it cannot have come from its parent, process {}", adopter->pid));
    const std::int32_t place = adopter == nullptr ? 0 : adopter->pid;
    const auto other = adoptions_.lower_bound({session, 0});
    const bool elsewhere =
        other != adoptions_.end() && other->first.session == session && other->first.adopter != place;
    if (leader == nullptr && elsewhere)  // the ID of its leader is there once
      return in_its_session(child, session, "its leader has ended, and its members have several parents");
    const auto [adoption, is_new] =
        adoptions_.try_emplace({session, place}, StandIn{session, leader == nullptr, maker, adopter, {}});
    adoption->second.children.push_back(&child);
    return {};
  }

  Birth birth_of(const Process& process) {
    Birth birth{&process, {}, {}};
    for (const auto* child : lineage_.children(process)) {
      if (!can_make(process, *child)) continue;
      const auto session = born_into(*child);
      const bool after = session == 0 || session == process.session;
      (after ? birth.after_setsid : birth.before_setsid).push_back(child);
    }
    return birth;
  }

  // THERE: those that have been made by now.
  void make_all(const std::vector<const Process*>& children, const Process* maker,
                std::vector<const Process*>& there) {
    // A zombie is as whoever has made it, and hands that down.
    if (maker != nullptr && maker->exit_status) maker = births_.makers.at(maker->pid);
    for (const auto* child : children) {
      births_.makers.emplace(child->pid, maker);
      there.push_back(child);
    }
  }

  std::optional<Obstacle> put_in_order() {
    std::unordered_map<const Process*, std::vector<StandIn*>> waiting;  // for whoever makes them
    for (auto& [place, stand_in] : adoptions_) waiting[stand_in.maker].push_back(&stand_in);
    std::vector<const Process*> there;
    auto make_adopted = [&](const Process* maker) {
      const auto its = waiting.find(maker);
      if (its == waiting.end()) return;
      for (auto* stand_in : its->second) {
        make_all(stand_in->children, maker, there);
        births_.steps.emplace_back(std::move(*stand_in));
      }
    };
    make_all(births_.roots, nullptr, there);
    make_adopted(nullptr);
    for (std::size_t i = 0; i < there.size(); ++i) {
      auto birth = birth_of(*there[i]);
      make_all(birth.before_setsid, there[i], there);
      make_all(birth.after_setsid, there[i], there);
      births_.steps.emplace_back(std::move(birth));
      make_adopted(there[i]);
    }
    for (const auto& process : snapshot_.processes) {
      if (!births_.makers.contains(process.pid))
        return in_its_session(process, process.session, "no order of calls brings it there");
    }
    return {};
  }

  const Snapshot& snapshot_;
  Lineage lineage_;
  std::vector<std::int32_t> born_into_;
  std::map<Place, StandIn> adoptions_;
  Births births_;
};

}  // namespace

const Process* Births::maker_of(const Process& process) const {
  const auto found = makers.find(process.pid);
  return found == makers.end() ? nullptr : found->second;
}

std::set<std::int32_t> needed_ids(const Snapshot& snapshot, const Births& births) {
  auto ids = births.stand_in_ids();
  for (const auto& process : snapshot.processes) {
    ids.insert(process.pid);
    for (const auto& thread : process.threads) ids.insert(thread.tid);
  }
  return ids;
}

std::set<std::int32_t> Births::stand_in_ids() const {
  std::set<std::int32_t> ids;
  for (const auto& group : lost_groups) ids.insert(group.id);
  for (const auto& step : steps) {
    const auto* stand_in = std::get_if<StandIn>(&step);
    if (stand_in != nullptr && stand_in->leads) ids.insert(stand_in->session);
  }
  return ids;
}

tl::expected<Births, Obstacle> plan_births(const Snapshot& snapshot) { return Planner(snapshot).plan(); }

std::set<std::uint32_t> keyrings_of_many_roots(const Snapshot& snapshot, const Births& births) {
  std::set<std::uint32_t> one, many;
  for (const auto& process : snapshot.processes) {
    if (!process.stopped || !process.stopped->keyring || births.maker_of(process) != nullptr) continue;
    if (!one.insert(*process.stopped->keyring).second) many.insert(*process.stopped->keyring);
  }
  return many;
}

std::optional<std::uint32_t> keyring_for(const StandIn& stand_in, const std::set<std::uint32_t>& common) {
  for (const auto* child : stand_in.children) {
    if (child->stopped && child->stopped->keyring && common.contains(*child->stopped->keyring))
      return child->stopped->keyring;
  }
  return {};
}

}  // namespace upkeep::engine
