#include "engine/model/task/process_index.h"

namespace upkeep::engine {

const Process* ProcessIndex::find(const std::vector<Process>& processes, std::int32_t pid) const {
  auto add_new_ones = [&] {
    for (; seen_ < processes.size() && processes[seen_].pid != 0; ++seen_)
      positions_.emplace(processes[seen_].pid, seen_);
  };
  if (seen_ > processes.size()) positions_.clear(), seen_ = 0;
  add_new_ones();
  auto found = positions_.find(pid);
  if (found == positions_.end()) return nullptr;
  if (processes[found->second].pid != pid) {  // the list is another one by now
    positions_.clear(), seen_ = 0;
    add_new_ones();
    found = positions_.find(pid);
  }
  return found == positions_.end() ? nullptr : &processes[found->second];
}

}  // namespace upkeep::engine
