#include "operation/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "os/clock.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::operation {

std::string journal_path(const std::string& state_dir, const std::string& id) {
  return fmt::format("{}/{}/journal.jsonl", state_dir, id);
}

Result<Journal> Journal::open(const std::string& state_dir, const std::string& id) {
  const std::string directory = state_dir + "/" + id;
  TRY(os::make_directories(state_dir, 0700));
  TRY(os::make_directories(directory, 0700));
  TRY_ASSIGN(auto fd, os::open_file(journal_path(state_dir, id), O_WRONLY | O_APPEND | O_CREAT, 0600));
  return Journal(std::move(fd), directory);
}

Result<void> Journal::append(Event event) {
  if (event.time_ns == 0) event.time_ns = os::realtime_ns();
  if (event.kernel.empty()) event.kernel = os::kernel_release();
  // A replaced character is better than a lost event: names of processes need not be UTF-8.
  const std::string line =
      to_json(event).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return os::write_all(fd_, line);
}

Result<void> Journal::sync() {
  if (::fdatasync(fd_.get()) < 0) return ErrnoErr("sync journal");
  return {};
}

Result<std::vector<Event>> parse_journal(std::string_view text) {
  std::vector<Event> events;
  for (std::size_t line = 1; !text.empty(); ++line) {
    auto end = text.find('\n');
    if (end == std::string_view::npos) break;  // torn: its change was never made, or is made again by undo
    auto json = nlohmann::json::parse(text.substr(0, end), nullptr, false);
    if (json.is_discarded()) return Err("journal line {} is not JSON", line);
    auto event = event_from_json(json);
    if (!event) return tl::unexpected(std::move(event).error().in(fmt::format("journal line {}", line)));
    events.push_back(std::move(*event));
    text.remove_prefix(end + 1);
  }
  return events;
}

Result<std::vector<Event>> read_journal(const std::string& path) {
  TRY_ASSIGN(auto text, os::read_file(path));
  auto events = parse_journal(text);
  if (!events) return tl::unexpected(std::move(events).error().in(path));
  return events;
}

Result<std::vector<std::string>> list_upgrades(const std::string& state_dir) {
  auto names = os::list_directory(state_dir);
  if (!names && names.error().code() == ENOENT) return std::vector<std::string>();
  if (!names) return names;
  std::erase_if(*names, [&](const std::string& id) { return !os::exists(journal_path(state_dir, id)); });
  return names;
}

const std::string& Progress::boot_of(const std::string& stage) const {
  const auto boot = boots.find(stage);
  return boot == boots.end() ? boot_id : boot->second;
}

Progress progress_of(const std::vector<Event>& events) {
  Progress progress;
  for (const auto& event : events) {
    if (event.kind == "upgrade_begun") {
      progress.id = event.data.value("id", "");
      progress.from = event.data.value("from", "");
      progress.boot_id = event.data.value("boot_id", "");
      progress.kind = event.data.value("kind", "upgrade");
    } else if (event.kind == "stage_begun") {
      progress.begun.push_back(event.stage);
      if (event.data.contains("boot_id")) progress.boots[event.stage] = event.data.value("boot_id", "");
    } else if (event.kind == "undo_done") {
      std::erase(progress.begun, event.stage);
    } else if (event.kind == "fact" && event.direction.empty()) {
      auto& facts = progress.facts.try_emplace(event.stage, nlohmann::json::object()).first->second;
      facts.update(event.data);
    } else if (event.kind == "upgrade_ended") {
      progress.ended = true;
    }
  }
  return progress;
}

}  // namespace upkeep::operation
