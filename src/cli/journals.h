#pragma once
// The journals that upgrades leave behind, as those who only read them need them: forgiving. A line that is
// no event becomes a warning in its place, for a damaged journal still has a story to tell.

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "common/event.h"
#include "common/result.h"
#include "os/fd.h"
#include "report/summary.h"

namespace upkeep::cli {

// Takes journal text in pieces that end anywhere and gives back the events of all lines that are whole.
class JournalReader {
 public:
  std::vector<Event> take(std::string_view piece);
  bool torn() const { return !rest_.empty(); }

 private:
  std::string rest_;
  std::size_t line_ = 0;
};

// All upgrades of this machine, oldest first. Empty where none has been run. The error of a folder that may
// not be read says that root is needed.
Result<std::vector<report::Summary>> read_upgrades(const std::string& state_dir);

// The upgrade called ID (any beginning that only one has is enough), or the newest where ID is empty.
Result<report::Summary> read_upgrade(const std::string& state_dir, const std::string& id);

// Follows a journal while it is being written.
class JournalFollower {
 public:
  // The journal need not exist yet, its folder's parent must.
  static Result<JournalFollower> open(const std::string& state_dir, const std::string& id);
  // Events that were written since the last call; waits up to TIMEOUT for the first of them (inotify(7)).
  Result<std::vector<Event>> wait(std::chrono::milliseconds timeout);

 private:
  JournalFollower(os::UniqueFd inotify, std::string path)
      : inotify_(std::move(inotify)), path_(std::move(path)) {}
  Result<std::vector<Event>> read_new();

  os::UniqueFd inotify_, file_;
  std::string path_;
  JournalReader reader_;
};

}  // namespace upkeep::cli
