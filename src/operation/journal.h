#pragma once
// What happened in an operation, on disk, one JSON event a line: STATE/ID/journal.jsonl. Every kernel that takes
// part writes to it. The undo of an operation whose process died works from nothing else, so whatever a stage is
// about to change is recorded before it changes it.
//
// A record reaches the page cache before the change it announces: that survives any death of the process. A
// power cut takes the changes with it, and the journal only has to say that the operation was interrupted.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/event.h"
#include "common/result.h"
#include "os/fd.h"

namespace upkeep::operation {

class Journal {
 public:
  // Opens for appending; makes the operation's directory (0700) and the file (0600) where they are missing.
  static Result<Journal> open(const std::string& state_dir, const std::string& id);

  // Stamps time and kernel where they are not set, and appends one line.
  Result<void> append(Event event);
  Result<void> sync();
  const std::string& directory() const { return directory_; }

 private:
  Journal(os::UniqueFd fd, std::string directory) : fd_(std::move(fd)), directory_(std::move(directory)) {}
  os::UniqueFd fd_;
  std::string directory_;
};

std::string journal_path(const std::string& state_dir, const std::string& id);
// All whole lines. A torn last line (the process died in the middle of it) is left out; any other bad line is
// an error.
Result<std::vector<Event>> read_journal(const std::string& path);
Result<std::vector<Event>> parse_journal(std::string_view text);
// IDs of all operations that left a journal, oldest first; empty where the directory is missing.
Result<std::vector<std::string>> list_upgrades(const std::string& state_dir);

// What the journal says of one operation, as undo needs it.
struct Progress {
  std::string id, from, boot_id;   // boot_id: of the boot that it was begun in
  std::string kind = "upgrade";    // of the operation; journals of versions that knew no other do not say it
  bool ended = false;              // upgrade_ended was written
  std::vector<std::string> begun;  // stages begun and not yet undone, in order
  std::map<std::string, std::string>
      boots;  // by stage: the boot that it was begun in, where its event says so
  std::map<std::string, nlohmann::json> facts;  // by stage: all its facts, later ones winning

  const std::string& boot_of(const std::string& stage) const;
};
Progress progress_of(const std::vector<Event>& events);

}  // namespace upkeep::operation
