#include "cli/follow.h"

#include <unistd.h>

#include <chrono>
#include <thread>

#include "cli/journals.h"
#include "jump/new/settle.h"
#include "operation/lock.h"
#include "os/clock.h"
#include "os/file.h"
#include "report/text.h"

namespace upkeep::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kFrame = std::chrono::milliseconds(120);
// A worker that was just started has not taken the lock yet, and one that takes over from a killed one
// neither.
constexpr auto kPatience = std::chrono::seconds(10);

bool is_end(const std::vector<Event>& events) {
  for (const auto& event : events) {
    if (event.kind == "upgrade_ended") return true;
  }
  return false;
}

}  // namespace

Result<report::Summary> follow_upgrade(const Context& context, const std::string& id) {
  TRY_ASSIGN(auto follower, JournalFollower::open(context.state_dir, id));
  const int fd = context.json ? STDERR_FILENO : STDOUT_FILENO;
  report::ProgressText progress(report::style_of(fd),
                                [fd](std::string_view text) { (void)os::write_all(os::Fd(fd), text); });
  std::vector<Event> all;
  auto last_seen_alive = Clock::now();
  for (;;) {
    const bool alive = operation::machine_lock_holder() != 0 || jump::settle_pending();
    if (alive) last_seen_alive = Clock::now();
    TRY_ASSIGN(auto events, follower.wait(kFrame));
    if (!context.quiet) {
      for (const auto& event : events) progress(event);
      progress.tick(os::realtime_ns());
    }
    all.insert(all.end(), events.begin(), events.end());
    if (is_end(events)) break;
    if (!events.empty()) last_seen_alive = Clock::now();
    if (!alive && Clock::now() - last_seen_alive > kPatience) break;
  }
  progress.finish();
  // The end is in the journal a moment before the worker is gone (it syncs, and frees the store's memory):
  // whoever starts the next upgrade at once shall not be told that this one is under way.
  for (const auto end = Clock::now() + kPatience;
       operation::machine_lock_holder() != 0 && Clock::now() < end;) {
    std::this_thread::sleep_for(kFrame / 4);
  }
  return report::summarise(all, {id, false});
}

}  // namespace upkeep::cli
