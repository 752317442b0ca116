#include "engine/native/compare.h"

#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace upkeep::native {
namespace {

using nlohmann::json;

// Numbers that stand for objects: the first one that appears becomes 1, and so on.
class Renumbered {
 public:
  std::uint64_t operator()(std::uint64_t number) {
    return numbers_.emplace(number, numbers_.size() + 1).first->second;
  }

 private:
  std::map<std::uint64_t, std::uint64_t> numbers_;
};

// The kernel merges neighbours that are alike, which depends on how they came about.
void merge_mappings(AddressSpace& memory) {
  std::vector<Mapping> merged;
  for (const auto& mapping : memory.mappings) {
    if (!merged.empty()) {
      auto& last = merged.back();
      auto continued = mapping;
      continued.start = last.start;
      continued.end = last.end;
      const bool same_object = last.kind == "anonymous" || last.offset + last.length() == mapping.offset;
      if (last.kind == "anonymous") continued.offset = last.offset, continued.name = last.name;
      if (last.kind != "anonymous" && same_object) continued.offset = last.offset;
      if (last.end == mapping.start && same_object && continued == last) {
        last.end = mapping.end;
        continue;
      }
    }
    merged.push_back(mapping);
  }
  memory.mappings = std::move(merged);
}

// Timers run while the tasks stand: they may have sent their signals meanwhile.
bool sent_by_timer(const Bytes& info) {
  std::array<std::int32_t, 3> head = {};  // si_signo, si_errno, si_code
  if (info.data.size() < sizeof head) return false;
  std::memcpy(head.data(), info.data.data(), sizeof head);
  return head[0] == SIGALRM || head[0] == SIGVTALRM || head[0] == SIGPROF || head[2] == SI_TIMER;
}

void forget_time(Process& process) {
  process.command.clear();
  for (auto& thread : process.threads) {
    if (thread.stopped) std::erase_if(thread.stopped->pending, sent_by_timer);
  }
  if (!process.stopped) return;
  std::erase_if(process.stopped->pending, sent_by_timer);
  for (auto& timer : process.stopped->interval_timers) timer.value = 0;
  for (auto& timer : process.stopped->posix_timers) timer.value = 0, timer.overrun = 0;
}

// The hardware may save a part of the extended registers that is in its initial state, or leave it out.
void forget_initial_state(StoppedThread& thread) {
  constexpr std::size_t kInUse = 512, kLegacyEnd = 576;  // XSTATE_BV; what is behind the header
  auto& bytes = thread.registers.xstate.data;
  if (bytes.size() < kLegacyEnd) return;
  std::fill(bytes.begin() + kInUse, bytes.begin() + kLegacyEnd, std::uint8_t{0});
}

// A sleep whose time was over when it was taken up again is made anew instead of gone on with
// (rebuild/finish.cc).
void forget_ended_sleep(StoppedThread& thread) {
  constexpr std::size_t kRax = 10, kOrigRax = 15;                      // in user_regs_struct
  constexpr std::uint64_t kNoHand = ~513ULL, kRestartBlock = ~515ULL;  // -514 and -516, linux/errno.h
  constexpr std::uint64_t kSleeps[] = {SYS_nanosleep, SYS_clock_nanosleep, SYS_futex, SYS_poll};
  auto& general = thread.registers.general;
  if (general[kRax] == kNoHand && std::ranges::find(kSleeps, general[kOrigRax]) != std::end(kSleeps))
    general[kRax] = kRestartBlock;
}

Snapshot comparable(Snapshot snapshot) {
  Renumbered pipes, shared, sockets;
  snapshot.clocks = {};
  snapshot.kernel.clear();
  snapshot.obstacles.clear();
  for (auto& process : snapshot.processes) {
    if (snapshot.find(process.ppid) == nullptr) process.ppid = 0;
    merge_mappings(process.memory);
    process.memory.pages.clear();
    for (auto& mapping : process.memory.mappings) {
      if (mapping.kind == "shared_memory") mapping.inode = shared(mapping.inode);
      if (mapping.kind == "anonymous") mapping.name.clear(), mapping.offset = 0;
      mapping.device = 0;
    }
    for (auto& thread : process.threads) {
      if (thread.stopped) forget_initial_state(*thread.stopped);
      if (thread.stopped) forget_ended_sleep(*thread.stopped);
    }
    forget_time(process);
  }
  for (auto& memory : snapshot.shared_memory) {
    memory.inode = shared(memory.inode);
    memory.pages.clear();
  }
  for (auto& file : snapshot.files) {
    if (file.pipe) file.pipe->inode = pipes(file.pipe->inode);
    if (file.kind != "path") file.name.clear();
    if (file.socket) {
      file.socket->inode = sockets(file.socket->inode);
      if (file.socket->peer != 0) file.socket->peer = sockets(file.socket->peer);
    }
    if (file.path) file.path->device = 0;
    if (file.timerfd) file.timerfd->value = 0;
    if (file.timerfd) file.timerfd->expirations = 0;
    if (file.epoll)
      std::sort(file.epoll->watches.begin(), file.epoll->watches.end(),
                [](const auto& a, const auto& b) { return a.fd < b.fd; });
  }
  return snapshot;
}

std::string shortened(const std::string& text) {
  return text.size() > 120 ? text.substr(0, 120) + "..." : text;
}

}  // namespace

Result<void> compare(const Snapshot& wanted, const Snapshot& found) {
  const auto wanted_here = comparable(wanted), found_here = comparable(found);
  if (wanted_here == found_here) return {};
  const auto a = to_json(wanted_here), b = to_json(found_here);
  const auto differences = json::diff(a, b);
  if (differences.empty()) return Err("what was made differs from what was saved");
  const auto& first = differences.front();
  const auto path = first.at("path").get<std::string>();
  auto value_at = [&](const json& document) {
    const json::json_pointer pointer(path);
    return document.contains(pointer) ? shortened(document.at(pointer).dump()) : std::string("nothing");
  };
  return Err("what was made differs from what was saved at {}: {} instead of {} ({} differences)", path,
             value_at(b), value_at(a), differences.size());
}

}  // namespace upkeep::native
