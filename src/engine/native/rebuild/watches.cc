#include "engine/native/rebuild/watches.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <thread>

namespace upkeep::native {
namespace {

bool disabled(const EpollWatch& watch) { return (watch.events & ~kEpollHow) == 0; }

class Watches {
 public:
  Watches(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files)
      : snapshot_(snapshot), files_(files) {}

  // In a table of our own.
  Result<void> add_all() {
    for (const auto& file : files_) above_ = std::max(above_, file.get() + 1);
    for (const auto& file : snapshot_.files) {
      if (!file.epoll) continue;
      for (const auto& watch : file.epoll->watches) above_ = std::max(above_, watch.fd + 1);
    }
    // All of them first: a number that a watch wants may be where one of the files is.
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (!snapshot_.files[i].epoll) continue;
      TRY(move(i));
      for (const auto& watch : snapshot_.files[i].epoll->watches) TRY(move(watch.file));
    }
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (snapshot_.files[i].epoll) TRY(add_set(i, *snapshot_.files[i].epoll));
    }
    return {};
  }

 private:
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
    epoll_event event = {};
    event.events = events;
    event.data.u64 = watch.data;
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

  Result<void> add_set(std::size_t index, const Epoll& epoll) {
    const int set = moved_.at(index);
    for (const auto& watch : epoll.watches) {
      if (disabled(watch)) TRY(add_disabled(set, watch));
    }
    for (const auto& watch : epoll.watches) {
      if (!disabled(watch)) TRY(add(set, watch, watch.events));
    }
    return {};
  }

  const Snapshot& snapshot_;
  const std::vector<os::UniqueFd>& files_;
  std::map<std::size_t, int> moved_;
  int above_ = 0;
};

}  // namespace

Result<void> add_watches(const Snapshot& snapshot, const std::vector<os::UniqueFd>& files) {
  const bool any = std::any_of(snapshot.files.begin(), snapshot.files.end(),
                               [](const auto& file) { return file.epoll && !file.epoll->watches.empty(); });
  if (!any) return {};
  Result<void> added;
  std::thread([&] {
    if (::unshare(CLONE_FILES) < 0)
      added = ErrnoErr("unshare");
    else
      added = Watches(snapshot, files).add_all();
  }).join();
  return added;
}

}  // namespace upkeep::native
