#pragma once
// What happened in an upgrade, on disk, one JSON event a line: STATE/ID/journal.jsonl. Both kernels write to
// it. The undo of an upgrade whose process died works from nothing else, so whatever a stage is about to
// change is recorded before it changes it.
//
// A record reaches the page cache before the change it announces: that survives any death of the process. A
// power cut takes the changes with it, and the journal only has to say that the upgrade was interrupted.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/event.h"
#include "common/result.h"
#include "os/fd.h"

namespace upkeep::operation {

inline constexpr const char* kDefaultStateDir = "/var/lib/upkeep";

class Journal {
 public:
  // Opens for appending; makes the upgrade's folder (0700) and the file (0600) where they are missing.
  static Result<Journal> open(const std::string& state_dir, const std::string& id);

  // Stamps time and kernel where they are not set, and appends one line.
  Result<void> append(Event event);
  Result<void> sync();
  const std::string& folder() const { return folder_; }

 private:
  Journal(os::UniqueFd fd, std::string folder) : fd_(std::move(fd)), folder_(std::move(folder)) {}
  os::UniqueFd fd_;
  std::string folder_;
};

std::string journal_path(const std::string& state_dir, const std::string& id);
// All whole lines. A torn last line (the process died in the middle of it) is left out; any other bad line is
// an error.
Result<std::vector<Event>> read_journal(const std::string& path);
Result<std::vector<Event>> parse_journal(std::string_view text);
// IDs of all upgrades that left a journal, oldest first; empty where the folder is missing.
Result<std::vector<std::string>> list_upgrades(const std::string& state_dir);

// What the journal says of one upgrade, as undo needs it.
struct Progress {
  std::string id, from, boot_id;
  bool ended = false;                           // upgrade_ended was written
  bool jumped = false;                          // the jump was announced: the new kernel is responsible
  std::vector<std::string> begun;               // stages begun and not yet undone, in order
  std::map<std::string, nlohmann::json> facts;  // by stage: all its facts, later ones winning
  nlohmann::json begin_data = nlohmann::json::object();
};
Progress progress_of(const std::vector<Event>& events);

}  // namespace upkeep::operation
