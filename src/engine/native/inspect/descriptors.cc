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
constexpr long kKcmpLess = 1;        // kcmp(2): 2 is greater, 3 is unordered and not given by any kernel

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

Result<std::uint32_t> DescriptorReader::file_of(const DescriptorFacts& facts, bool stopped) {
  struct stat status = {};
  const auto path = fmt::format("/proc/{}/fd/{}", facts.pid, facts.fd);
  if (::stat(path.c_str(), &status) < 0) return ErrnoErr("stat {}", path);
  auto& places = places_[{status.st_dev, status.st_ino}];
  std::size_t first = 0, behind = places.size();
  while (first < behind) {
    const std::size_t middle = (first + behind) / 2;
    const auto& place = places[middle];
    const long order = ::syscall(SYS_kcmp, facts.pid, place.pid, kKcmpFile, facts.fd, place.fd);
    if (order == 0) return place.file;
    if (order == kKcmpLess)  // an error: one of them was closed meanwhile, which is not the same
      behind = middle;
    else
      first = middle + 1;
  }
  TRY_ASSIGN(auto file, read_open_file(facts, stopped, snapshot_.obstacles));
  const auto index = static_cast<std::uint32_t>(snapshot_.files.size());
  snapshot_.files.push_back(std::move(file));
  places.insert(places.begin() + static_cast<std::ptrdiff_t>(first), {facts.pid, facts.fd, index});
  return index;
}

Result<void> DescriptorReader::read(Process& process, bool stopped) {
  TRY_ASSIGN(const auto numbers, list_descriptors(process.pid));
  for (int fd : numbers) {
    const auto facts = facts_of(process.pid, fd);
    if (!facts && !stopped) continue;  // closed meanwhile
    if (!facts) return tl::unexpected(facts.error());
    auto file = file_of(*facts, stopped);
    if (!file && !stopped) continue;
    if (!file) return tl::unexpected(std::move(file).error().in(fmt::format("descriptor {}", fd)));
    const auto flags = number_of(facts->info, "flags", 8).value_or(0);
    process.descriptors.push_back({fd, (flags & O_CLOEXEC) != 0, *file});
  }
  return {};
}

Result<void> DescriptorReader::finish() {
  struct Holder {
    const Process* process = nullptr;
    const Descriptor* descriptor = nullptr;
  };
  std::vector<Holder> holders(snapshot_.files.size());  // the first of each
  for (const auto& process : snapshot_.processes) {
    for (const auto& descriptor : process.descriptors) {
      auto& first = holders[descriptor.file];
      if (first.process == nullptr) first = {&process, &descriptor};
    }
  }
  for (std::size_t i = 0; i < snapshot_.files.size(); ++i) {
    auto& file = snapshot_.files[i];
    if (!file.epoll) continue;
    const auto [holder, set] = holders[i];
    if (holder == nullptr) continue;
    file.epoll->pid = holder->pid;
    for (auto& watch : file.epoll->watches) {
      const auto found = std::lower_bound(holder->descriptors.begin(), holder->descriptors.end(), watch.fd,
                                          [](const Descriptor& d, int fd) { return d.fd < fd; });
      EpollSlot slot = {static_cast<std::uint32_t>(set->fd), static_cast<std::uint32_t>(watch.fd), 0};
      const bool same = found != holder->descriptors.end() && found->fd == watch.fd &&
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
