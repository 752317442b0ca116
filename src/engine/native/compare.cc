#include "engine/native/compare.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <tuple>

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

class RenumberedFiles {
 public:
  std::uint64_t operator()(std::uint64_t device, std::uint64_t inode) {
    return numbers_.emplace(std::pair(device, inode), numbers_.size() + 1).first->second;
  }
  // What stands for a kept file; 0: none does. Its name is one that it does not have any more.
  void forget(std::string& name, std::uint64_t& device, std::uint64_t& inode) {
    if (inode == 0) return;
    inode = (*this)(device, inode);
    device = 0;
    name.clear();
  }

 private:
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> numbers_;
};

// Files of a tmpfs may have been put back since.
void forget_volatile_inode(std::uint64_t& device, std::uint64_t& inode) {
  if (major(device) == 0) inode = 0;
  device = 0;
}

void forget_identity(Mapping& mapping, RenumberedFiles& kept) {
  // Known to the kernel, or shown by it, only from some version on; or a matter of taste.
  std::erase_if(mapping.flags, [](const auto& flag) { return flag == "dp" || flag == "gu" || flag == "lf"; });
  if (mapping.kind == "unlinked" || mapping.kind == "memfd" || mapping.kind == "shared_memory")
    kept.forget(mapping.name, mapping.device, mapping.inode);
  else if (mapping.kind == "segment")
    mapping.device = 0;
  else
    forget_volatile_inode(mapping.device, mapping.inode);
}

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

json comparable(Snapshot snapshot) {
  Renumbered pipes, sockets;
  RenumberedFiles kept;
  snapshot.clocks = {};
  snapshot.kernel.clear();
  snapshot.boot.clear();
  snapshot.obstacles.clear();
  const auto roots = snapshot.roots();
  std::set<std::int32_t> ids;
  for (const auto& process : snapshot.processes) {
    ids.insert(process.pid);
    for (const auto& thread : process.threads) ids.insert(thread.tid);
  }
  for (auto& process : snapshot.processes) {
    if (std::find(roots.begin(), roots.end(), process.pid) != roots.end()) process.ppid = 0;
    kept.forget(process.memory.executable, process.memory.executable_device, process.memory.executable_inode);
    for (auto& mapping : process.memory.mappings) forget_identity(mapping, kept);
    merge_mappings(process.memory);
    process.memory.pages.clear();
    for (auto& mapping : process.memory.mappings) {
      if (mapping.kind == "anonymous") mapping.name.clear(), mapping.offset = 0;
    }
    for (auto& thread : process.threads) {
      if (thread.stopped) forget_initial_state(*thread.stopped);
      if (thread.stopped) forget_ended_sleep(*thread.stopped);
    }
    forget_time(process);
  }
  for (auto& file : snapshot.kept_files) {
    file.inode = file.kind == "segment" ? file.inode : kept(file.device, file.inode);
    file.device = 0;
    if (file.kind == "unlinked") file.name.clear();
    file.pages.clear();
  }
  for (auto& file : snapshot.files) {
    if (file.pipe) file.pipe->inode = pipes(file.pipe->inode);
    if (file.kind != "path") file.name.clear();
    if (file.socket) {
      file.socket->inode = sockets(file.socket->inode);
      if (file.socket->peer != 0) file.socket->peer = sockets(file.socket->peer);
    }
    if (file.kind == "kept") kept.forget(file.path->path, file.path->device, file.path->inode);
    if (file.path) forget_volatile_inode(file.path->device, file.path->inode);
    if (file.inotify) {
      for (auto& watch : file.inotify->watches) forget_volatile_inode(watch.device, watch.inode);
    }
    if (file.pidfd) {
      if (!ids.contains(file.pidfd->pid)) file.pidfd->pid = 0;  // it may have ended
      file.pidfd->start_time = 0;
    }
    if (file.timerfd) file.timerfd->value = 0;
    if (file.timerfd) file.timerfd->expirations = 0;
    if (file.epoll)
      std::sort(file.epoll->watches.begin(), file.epoll->watches.end(),
                [](const auto& a, const auto& b) { return std::tie(a.fd, a.file) < std::tie(b.fd, b.file); });
  }
  return to_json(snapshot);
}

std::string shortened(const std::string& text) {
  return text.size() > 120 ? text.substr(0, 120) + "..." : text;
}

}  // namespace

Result<void> compare(const Snapshot& wanted, const Snapshot& found) {
  const auto a = comparable(wanted), b = comparable(found);
  const auto differences = json::diff(a, b);
  if (differences.empty()) return {};
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
