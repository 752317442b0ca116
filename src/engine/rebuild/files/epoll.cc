#include "engine/rebuild/files/epoll.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>

namespace upkeep::engine {
namespace {

bool disabled(const EpollWatch& watch) { return (watch.events & ~kEpollHow) == 0; }

// Whether all that is in the set is what PROCESS has under these numbers, and asked for.
bool can_add(const Process& process, const Epoll& epoll) {
  return std::ranges::all_of(epoll.watches, [&](const EpollWatch& watch) {
    const auto own = std::ranges::lower_bound(process.descriptors, watch.fd, {}, &Descriptor::fd);
    return own != process.descriptors.end() && own->fd == watch.fd && own->file == watch.file &&
           !disabled(watch);
  });
}

epoll_event event_of(const EpollWatch& watch, std::uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = watch.data;
  return event;
}

// In a table of our own.
class Watches {
 public:
  // SETS: indices of those to fill.
  Watches(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files, std::vector<std::size_t> sets)
      : snapshot_(snapshot), files_(files), sets_(std::move(sets)) {}

  Result<void> add_all() {
    for (const auto& file : files_) above_ = std::max(above_, file.get() + 1);
    for (const auto set : sets_) {
      for (const auto& watch : epoll(set).watches) above_ = std::max(above_, watch.fd + 1);
    }
    // All of them first: a number that a watch wants may be where one of the files is.
    for (const auto set : sets_) {
      TRY(move(set));
      for (const auto& watch : epoll(set).watches) TRY(move(watch.file));
    }
    for (const auto set : sets_) TRY(add_set(set));
    return {};
  }

 private:
  const Epoll& epoll(std::size_t set) const { return *snapshot_.files[set].epoll; }

  // To where no watch wants to be.
  Result<void> move(std::size_t index) {
    if (moved_.contains(index)) return {};
    const int fd = ::fcntl(files_[index].get(), F_DUPFD_CLOEXEC, above_);
    if (fd < 0) return ErrnoErr("F_DUPFD");
    moved_.emplace(index, fd);
    return {};
  }

  Result<void> add(int set, const EpollWatch& watch, std::uint32_t events) {
    if (::dup2(moved_.at(watch.file), watch.fd) < 0) return ErrnoErr("dup2 to {}", watch.fd);
    auto event = event_of(watch, events);
    if (::epoll_ctl(set, EPOLL_CTL_ADD, watch.fd, &event) < 0)
      return ErrnoErr("epoll_ctl: watching descriptor {}", watch.fd);
    return {};
  }

  // Adding always asks for errors and hang-ups too. An entry without any events is one that has reported
  // once: so it does, while it is alone in the set.
  Result<void> add_disabled(int set, const EpollWatch& watch) {
    TRY(add(set, watch, watch.events | EPOLLIN | EPOLLOUT | EPOLLPRI));
    epoll_event event = {};
    if (::epoll_wait(set, &event, 1, 0) != 1)
      return Err("the disabled watch of descriptor {} cannot be made: there is nothing to report", watch.fd);
    return {};
  }

  Result<void> add_set(std::size_t index) {
    const int set = moved_.at(index);
    for (const auto& watch : epoll(index).watches) {
      if (disabled(watch)) TRY(add_disabled(set, watch));
    }
    for (const auto& watch : epoll(index).watches) {
      if (!disabled(watch)) TRY(add(set, watch, watch.events));
    }
    return {};
  }

  const Snapshot& snapshot_;
  const std::vector<os::UniqueFd>& files_;
  std::vector<std::size_t> sets_;
  std::map<std::size_t, int> moved_;
  int above_ = 0;
};

}  // namespace

Result<os::UniqueFd> make_epoll() {
  os::UniqueFd fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd.valid()) return ErrnoErr("epoll_create");
  return fd;
}

OwnSets find_own_sets(const Snapshot& snapshot, const std::function<bool(const Process&)>& may) {
  OwnSets found;
  std::set<std::uint32_t> seen;
  for (const auto& process : snapshot.processes) {
    if (process.exit_status || !may(process)) continue;
    for (const auto& descriptor : process.descriptors) {
      const auto& epoll = snapshot.files[descriptor.file].epoll;
      if (!epoll || epoll->watches.empty() || seen.contains(descriptor.file)) continue;
      if (!can_add(process, *epoll)) continue;
      seen.insert(descriptor.file);
      found[process.pid].push_back({descriptor.fd, descriptor.file});
    }
  }
  return found;
}

Program compile_watches(const Snapshot& snapshot, const std::vector<OwnSet>& sets) {
  Program program;
  for (const auto& set : sets) {
    for (const auto& watch : snapshot.files[set.file].epoll->watches)
      program.call(SYS_epoll_ctl,
                   {set.fd, EPOLL_CTL_ADD, watch.fd, program.value(event_of(watch, watch.events))});
  }
  return program;
}

Result<void> add_watches(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files,
                         const OwnSets& own) {
  std::set<std::size_t> left;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (snapshot.files[i].epoll && !snapshot.files[i].epoll->watches.empty()) left.insert(i);
  }
  for (const auto& [pid, sets] : own) {
    for (const auto& set : sets) left.erase(set.file);
  }
  if (left.empty()) return {};
  Result<void> added;
  std::thread([&] {
    if (::unshare(CLONE_FILES) < 0)
      added = ErrnoErr("unshare");
    else
      added = Watches(snapshot, files, {left.begin(), left.end()}).add_all();
  }).join();
  return added;
}

}  // namespace upkeep::engine
