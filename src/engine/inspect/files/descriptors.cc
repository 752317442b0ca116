#include "engine/inspect/files/descriptors.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "engine/inspect/calls/proc_text.h"
#include "engine/inspect/files/description_order.h"
#include "engine/inspect/namespaces/namespaces.h"
#include "os/child.h"
#include "os/file.h"
#include "os/open_socket.h"

namespace upkeep::engine {
namespace {

// Of one process: names are looked up from there.
struct DescriptorDirectories {
  os::UniqueFd links, infos;
  static Result<DescriptorDirectories> open(pid_t pid) {
    DescriptorDirectories directories;
    TRY_ASSIGN(directories.links, os::open_file(fmt::format("/proc/{}/fd", pid), O_PATH | O_DIRECTORY));
    TRY_ASSIGN(directories.infos, os::open_file(fmt::format("/proc/{}/fdinfo", pid), O_PATH | O_DIRECTORY));
    return directories;
  }
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

Result<DescriptorFacts> facts_of(const DescriptorDirectories& directories, pid_t pid, int fd) {
  DescriptorFacts facts;
  facts.pid = facts.holder = pid;
  facts.fd = facts.number = fd;
  const auto name = std::to_string(fd);
  TRY_ASSIGN(facts.link, os::read_link_at(directories.links, name));
  TRY_ASSIGN(facts.info, os::read_record_at(directories.infos, name));
  struct stat status = {};
  if (::fstatat(directories.links.get(), name.c_str(), &status, 0) < 0)
    return ErrnoErr("stat /proc/{}/fd/{}", pid, fd);
  facts.device = status.st_dev;
  facts.inode = status.st_ino;
  return facts;
}

// Those of the process itself; a copy of the descriptor shows them once more.
Result<void> read_record_locks(Process& process, const std::string& info) {
  TRY_ASSIGN(auto locks, parse_locks(info));
  const auto& last = process.descriptors.back();
  for (auto& lock : locks) {
    const bool known = std::any_of(process.locks.begin(), process.locks.end(), [&](const auto& one) {
      const auto other = std::find_if(process.descriptors.begin(), process.descriptors.end(),
                                      [&](const auto& d) { return d.fd == one.fd; });
      return one.lock == lock && other->file == last.file;
    });
    if (lock.kind == LockKind::posix && !known) process.locks.push_back({last.fd, std::move(lock)});
  }
  return {};
}

std::uint64_t own_network_cookie() {
  const auto fresh = os::open_socket(AF_UNIX, SOCK_DGRAM, 0);
  return fresh ? os::network_cookie(*fresh) : 0;
}

}  // namespace

Result<std::vector<DescriptorFacts>> read_descriptor_facts(pid_t pid, Look tasks) {
  TRY_ASSIGN(const auto numbers, list_descriptors(pid));
  TRY_ASSIGN(const auto directories, DescriptorDirectories::open(pid));
  std::vector<DescriptorFacts> all;
  all.reserve(numbers.size());
  for (int fd : numbers) {
    auto facts = facts_of(directories, pid, fd);
    if (facts)
      all.push_back(std::move(*facts));
    else if (stand_still(tasks))
      return tl::unexpected(std::move(facts).error());
  }
  return all;
}

DescriptorReader::DescriptorReader(Snapshot& snapshot, os::Survivor* survivor)
    : snapshot_(snapshot),
      own_root_(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)),
      own_network_(own_network_cookie()),
      survivor_(survivor) {}

Result<std::uint32_t> DescriptorReader::file_of(const DescriptorFacts& facts, Look tasks) {
  auto& sorted = sorted_[{facts.device, facts.inode}];
  const auto place =
      find_description(facts.pid, facts.fd, sorted.size(),
                       [&](std::size_t i) -> const OpenFilePlace& { return places_[sorted[i]]; });
  if (place.same) return sorted[place.at];
  const auto known = snapshot_.obstacles.size();
  TRY_ASSIGN(auto read, read_open_file(facts, tasks, snapshot_));
  if (!stand_still(tasks) && snapshot_.obstacles.size() > known) {
    snapshot_.obstacles.resize(known);
    TRY_ASSIGN(read, read_held(facts));
  }
  const auto index = static_cast<std::uint32_t>(snapshot_.files.size());
  snapshot_.files.push_back(std::move(read.file));
  places_.push_back({facts.pid, facts.fd, index, facts.inode});
  sorted.insert(sorted.begin() + static_cast<std::ptrdiff_t>(place.at), index);
  TRY(read_in_flight(index, std::move(read.in_flight)));
  return index;
}

void DescriptorReader::add_what_is_ours(DescriptorFacts& facts) {
  facts.own_root = own_root_, facts.own_network = own_network_, facts.own_diag = &own_diag_;
  facts.survivor = survivor_;
}

// A running task may open another file under the same number between two looks, as shells do for each
// command: what is refused is looked at once more, by a descriptor of our own.
Result<OpenFileReading> DescriptorReader::read_held(const DescriptorFacts& facts) {
  TRY_ASSIGN(const auto held, borrow_descriptor(facts));
  TRY_ASSIGN(const auto own, DescriptorDirectories::open(::getpid()));
  TRY_ASSIGN(auto now, facts_of(own, ::getpid(), held.get()));
  add_what_is_ours(now);
  now.inner = facts.inner;
  now.holder = facts.holder;
  now.number = facts.number;
  return read_open_file(now, Look::glance, snapshot_);
}

// A socket may be on its way through itself: it is known by now.
Result<void> DescriptorReader::read_in_flight(std::uint32_t socket, std::vector<InFlight> in_flight) {
  if (in_flight.empty()) return {};
  TRY_ASSIGN(const auto own, DescriptorDirectories::open(::getpid()));
  for (auto& message : in_flight) {
    for (auto& descriptor : message.descriptors) {
      TRY_ASSIGN(auto facts, facts_of(own, ::getpid(), descriptor.get()));
      facts.holder = 0;
      facts.number = -1;
      add_what_is_ours(facts);
      in_flight_.push_back(std::move(descriptor));
      TRY_ASSIGN(const auto file, file_of(facts, Look::stopped));
      if (const auto& its = snapshot_.files[file].socket; its && its->connection)
        snapshot_.obstacles.push_back({0, descriptor_title(-1, facts.link),
                                       "a TCP connection is on its way through a socket",
                                       "try again when it has been received"});
      snapshot_.files[socket].socket->unread[message.message].files.push_back(file);
    }
  }
  return {};
}

Result<void> DescriptorReader::read(Process& process, std::vector<DescriptorFacts> descriptors, Look tasks) {
  const bool inner = shows_other_processes(process, snapshot_);
  auto holder = os::open_pidfd(process.pid);
  for (auto& facts : descriptors) {
    add_what_is_ours(facts);
    if (holder) facts.process = *holder;
    facts.inner = inner;
    auto file = file_of(facts, tasks);
    if (!file && !stand_still(tasks)) continue;
    if (!file) return tl::unexpected(std::move(file).error().in(fmt::format("descriptor {}", facts.fd)));
    const auto flags = number_of(facts.info, "flags", 8).value_or(0);
    process.descriptors.push_back({facts.fd, (flags & O_CLOEXEC) != 0, *file});
    TRY(read_record_locks(process, facts.info));
  }
  return {};
}

}  // namespace upkeep::engine
