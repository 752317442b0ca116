#include "cli/journals.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "jump/new/settle.h"
#include "operation/journal.h"
#include "operation/lock.h"
#include "os/file.h"

namespace upkeep::cli {
namespace {

Event event_of_line(std::string_view line, std::size_t number) {
  auto json = nlohmann::json::parse(line, nullptr, false);
  auto event = json.is_discarded() ? Result<Event>(Err("it is not JSON")) : event_from_json(json);
  if (event) return std::move(*event);
  Event warning;
  warning.kind = "warning";
  warning.message = fmt::format("line {} of the journal cannot be read: {}", number, event.error().message());
  return warning;
}

Result<std::string> read_journal_text(const std::string& state_dir, const std::string& id) {
  auto text = os::read_file(operation::journal_path(state_dir, id));
  if (!text && (text.error().code() == EACCES || text.error().code() == EPERM)) {
    return Err("{}: only root may read it", operation::journal_path(state_dir, id));
  }
  return text;
}

Result<std::vector<Event>> read_events(const std::string& state_dir, const std::string& id) {
  TRY_ASSIGN(auto text, read_journal_text(state_dir, id));
  JournalReader reader;
  auto events = reader.take(text);
  if (reader.torn()) {
    Event torn;
    torn.kind = "warning";
    torn.message = "the last line of the journal is not whole";
    events.push_back(std::move(torn));
  }
  return events;
}

Result<std::vector<std::string>> ids_in(const std::string& state_dir) {
  auto ids = operation::list_upgrades(state_dir);
  if (!ids && (ids.error().code() == EACCES || ids.error().code() == EPERM)) {
    return Err("{}: only root may read it", state_dir);
  }
  return ids;
}

}  // namespace

std::vector<Event> JournalReader::take(std::string_view piece) {
  std::vector<Event> events;
  rest_ += piece;
  std::size_t begin = 0;
  for (std::size_t end; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    ++line_;
    if (end > begin)
      events.push_back(event_of_line(std::string_view(rest_).substr(begin, end - begin), line_));
  }
  rest_.erase(0, begin);
  return events;
}

Result<std::vector<report::Summary>> read_upgrades(const std::string& state_dir) {
  TRY_ASSIGN(auto ids, ids_in(state_dir));
  // Asked before the journals are read: whoever ends in between has then written so.
  const bool somebody_works = operation::machine_lock_holder() != 0 || jump::settle_pending();
  std::vector<report::Summary> upgrades;
  for (const auto& id : ids) {
    TRY_ASSIGN(auto events, read_events(state_dir, id));
    report::SummaryOptions options{id, false};
    // The lock says that there is work, not on what: on the newest.
    options.alive = somebody_works && id == ids.back() && !events.empty();
    upgrades.push_back(report::summarise(events, options));
    upgrades.back().id = id;  // what its folder is called is what commands take
  }
  std::stable_sort(upgrades.begin(), upgrades.end(), [](const report::Summary& a, const report::Summary& b) {
    return a.started_ns < b.started_ns;
  });
  return upgrades;
}

Result<report::Summary> read_upgrade(const std::string& state_dir, const std::string& id) {
  TRY_ASSIGN(auto upgrades, read_upgrades(state_dir));
  if (upgrades.empty())
    return Err("no upgrade has been run on this machine yet (there is none in {})", state_dir);
  if (id.empty()) return std::move(upgrades.back());
  report::Summary* found = nullptr;
  for (auto& one : upgrades) {
    if (one.id == id) return std::move(one);
    if (!one.id.starts_with(id)) continue;
    if (found != nullptr) return Err("'{}' may be {} or {}: write more of it", id, found->id, one.id);
    found = &one;
  }
  if (found == nullptr) return Err("there is no upgrade '{}'; `upkeep history` lists them", id);
  return std::move(*found);
}

Result<JournalFollower> JournalFollower::open(const std::string& state_dir, const std::string& id) {
  os::UniqueFd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify.valid()) return ErrnoErr("inotify_init1");
  // Both folders and the file: whichever appears next, something is heard.
  const std::string path = operation::journal_path(state_dir, id);
  if (::inotify_add_watch(inotify.get(), state_dir.c_str(), IN_CREATE | IN_MOVED_TO) < 0) {
    return ErrnoErr("watch {}", state_dir);
  }
  return JournalFollower(std::move(inotify), path);
}

Result<std::vector<Event>> JournalFollower::read_new() {
  if (!file_.valid()) {
    const std::string folder = path_.substr(0, path_.rfind('/'));
    // Watches come first and reading after them: what is written in between is then heard of. Again and again
    // is harmless.
    ::inotify_add_watch(inotify_.get(), folder.c_str(), IN_CREATE | IN_MODIFY);
    auto file = os::open_file(path_, O_RDONLY);
    if (!file && file.error().code() == ENOENT) return std::vector<Event>();
    if (!file) return tl::unexpected(std::move(file).error());
    file_ = std::move(*file);
  }
  TRY_ASSIGN(auto text, os::read_all(file_));
  return reader_.take(text);
}

Result<std::vector<Event>> JournalFollower::wait(std::chrono::milliseconds timeout) {
  TRY_ASSIGN(auto events, read_new());
  if (!events.empty()) return events;
  pollfd poll_fd = {inotify_.get(), POLLIN, 0};
  if (::poll(&poll_fd, 1, static_cast<int>(timeout.count())) < 0 && errno != EINTR) return ErrnoErr("poll");
  std::array<char, 4096> heard;
  while (::read(inotify_.get(), heard.data(), heard.size()) > 0) {
  }
  return read_new();
}

}  // namespace upkeep::cli
