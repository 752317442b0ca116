// Which descriptors there are, and which of them lead to the same open file description.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "engine/native/inspect/proc_text.h"
#include "engine/native/inspect/readers.h"
#include "os/file.h"

namespace upkeep::native {
namespace {

constexpr int kKcmpFile = 0;         // KCMP_FILE of linux/kcmp.h
constexpr int kKcmpEpollTarget = 7;  // KCMP_EPOLL_TFD

// struct kcmp_epoll_slot
struct EpollSlot {
  std::uint32_t epoll_fd, fd, offset;
};

Result<std::vector<int>> list_descriptors(pid_t pid) {
  TRY_ASSIGN(const auto names, os::list_directory(fmt::format("/proc/{}/fd", pid)));
  std::vector<int> numbers;
  for (const auto& name : names) {
    int number = -1;
    (void)std::from_chars(name.data(), name.data() + name.size(), number);
    numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Result<DescriptorFacts> facts_of(pid_t pid, int fd) {
  DescriptorFacts facts;
  facts.pid = pid;
  facts.fd = fd;
  TRY_ASSIGN(facts.link, os::read_link(fmt::format("/proc/{}/fd/{}", pid, fd)));
  TRY_ASSIGN(facts.info, os::read_file(fmt::format("/proc/{}/fdinfo/{}", pid, fd)));
  return facts;
}

}  // namespace

DescriptorReader::DescriptorReader(Snapshot& snapshot)
    : snapshot_(snapshot), own_root_(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

Result<std::uint32_t> DescriptorReader::file_of(pid_t pid, int fd, bool stopped) {
  struct stat status = {};
  const auto path = fmt::format("/proc/{}/fd/{}", pid, fd);
  if (::stat(path.c_str(), &status) < 0) return ErrnoErr("stat {}", path);
  auto& places = places_[{status.st_dev, status.st_ino}];
  for (const auto& place : places) {
    if (::syscall(SYS_kcmp, pid, place.pid, kKcmpFile, fd, place.fd) == 0) return place.file;
  }
  TRY_ASSIGN(auto facts, facts_of(pid, fd));
  facts.own_root = own_root_;
  TRY_ASSIGN(auto file, read_open_file(facts, stopped, snapshot_.obstacles));
  const auto index = static_cast<std::uint32_t>(snapshot_.files.size());
  snapshot_.files.push_back(std::move(file));
  places.push_back({pid, fd, index});
  return index;
}

Result<void> DescriptorReader::read(Process& process, bool stopped) {
  TRY_ASSIGN(const auto numbers, list_descriptors(process.pid));
  for (int fd : numbers) {
    auto file = file_of(process.pid, fd, stopped);
    if (!file && !stopped) continue;  // closed meanwhile
    if (!file) return tl::unexpected(std::move(file).error().in(fmt::format("descriptor {}", fd)));
    auto info = os::read_file(fmt::format("/proc/{}/fdinfo/{}", process.pid, fd));
    if (!info && !stopped) continue;
    if (!info) return tl::unexpected(std::move(info).error());
    const auto flags = number_of(*info, "flags", 8).value_or(0);
    process.descriptors.push_back({fd, (flags & O_CLOEXEC) != 0, *file});
  }
  return {};
}

Result<void> DescriptorReader::finish() {
  for (auto& file : snapshot_.files) {
    if (!file.epoll) continue;
    const Process* holder = nullptr;
    const Descriptor* set = nullptr;
    for (const auto& process : snapshot_.processes) {
      for (const auto& descriptor : process.descriptors) {
        if (&snapshot_.files[descriptor.file] == &file && holder == nullptr)
          holder = &process, set = &descriptor;
      }
    }
    if (holder == nullptr) continue;
    file.epoll->pid = holder->pid;
    for (auto& watch : file.epoll->watches) {
      auto found = std::find_if(holder->descriptors.begin(), holder->descriptors.end(),
                                [&](const auto& d) { return d.fd == watch.fd; });
      EpollSlot slot = {static_cast<std::uint32_t>(set->fd), static_cast<std::uint32_t>(watch.fd), 0};
      const bool same = found != holder->descriptors.end() &&
                        ::syscall(SYS_kcmp, holder->pid, holder->pid, kKcmpEpollTarget, watch.fd, &slot) == 0;
      if (same) {
        watch.file = found->file;
      } else {
        snapshot_.obstacles.push_back(
            {holder->pid, fmt::format("descriptor {} (epoll)", set->fd),
             fmt::format("it watches what was descriptor {} and is not any more", watch.fd), ""});
      }
    }
  }
  return {};
}

}  // namespace upkeep::native
