#include <fcntl.h>

#include <algorithm>
#include <set>
#include <utility>

#include "engine/engine.h"
#include "engine/inspect/inspect.h"
#include "engine/inspect/memory/own_pages.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

std::string title_of(pid_t id) {
  auto stat = os::read_stat(id);
  return fmt::format("{} ({})", id, stat ? stat->comm : "?");
}

constexpr const char* kLeaveItOut =
    "leave it out of what is carried: it is stopped before the window and started again after it";

class Checker {
 public:
  Checker(const CarrySet& set, const Destination& destination) : set_(set), destination_(destination) {}

  std::vector<Finding> look() {
    auto seen = glance(set_.roots());
    if (!seen) {
      refuse("--carry", seen.error().message(), "");
      return std::move(findings_);
    }
    for (const auto& obstacle : seen->obstacles)
      refuse(fmt::format("{}, {}", title_of(obstacle.pid), obstacle.what), obstacle.why, obstacle.remedy);
    for (const auto& loss : seen->losses)
      findings_.push_back({Finding::Severity::warning, fmt::format("{}, {}", title_of(loss.pid), loss.what),
                           loss.why, loss.remedy});
    for (const auto& file : seen->files) {
      const auto flags = file.io_uring ? file.io_uring->flags.value_or(0) : 0;
      refuse(file.name, why_not_this_ring(flags, destination_), kOlderRing);
    }
    look_for_guard_regions(*seen);
    for (const auto& tree : set_.trees) {
      for (const auto& task : tree.tasks) look_at(task);
    }
    return std::move(findings_);
  }

 private:
  // Through all of their memory: only where it matters.
  void look_for_guard_regions(const Snapshot& seen) {
    const auto why = why_not_guard_regions(destination_);
    if (why.empty()) return;
    for (const auto& process : seen.processes) {
      const auto pagemap = os::open_file(fmt::format("/proc/{}/pagemap", process.pid), O_RDONLY);
      if (!pagemap) continue;  // it has ended
      const auto pages = own_pages(*pagemap, process.memory.mappings);
      if (pages && std::ranges::any_of(*pages, [](const auto& of_one) { return !of_one.guards.empty(); }))
        refuse(title_of(process.pid), why, kNewerGuards);
    }
  }
  void look_at(const CarriedTask& task) {
    for (pid_t id : task.threads) refuse(title_of(task.pid), why_not_this_id(id, destination_), kHigherId);
    // Their leaders may have ended, which somebody has to stand in for.
    for (pid_t id : {task.session, task.group}) {
      if (!set_.contains(id) && said_.insert(id).second)
        refuse(title_of(task.pid), why_not_this_id(id, destination_), kHigherId);
    }
    const auto rseq = rseq_size_of(fmt::format("/proc/{}", task.pid));
    refuse(title_of(task.pid), why_not_this_rseq(rseq, destination_), kSmallerRseq);
  }
  // WHY: empty where there is nothing to refuse.
  void refuse(std::string what, std::string why, std::string remedy) {
    if (remedy.empty()) remedy = kLeaveItOut;
    if (!why.empty())
      findings_.push_back({Finding::Severity::refusal, std::move(what), std::move(why), std::move(remedy)});
  }

  const CarrySet& set_;
  const Destination& destination_;
  std::vector<Finding> findings_;
  std::set<pid_t> said_;
};

}  // namespace

std::vector<Finding> check(const CarrySet& set, const Destination& destination) {
  return Checker(set, destination).look();
}

}  // namespace upkeep::engine
