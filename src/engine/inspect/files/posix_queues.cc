#include "engine/inspect/files/posix_queues.h"

#include <fcntl.h>
#include <mqueue.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <map>
#include <optional>

#include "engine/inspect/calls/outside_processes.h"
#include "engine/inspect/namespaces/queue_directory.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr long kQueueMagic = 0x19800202;  // MQUEUE_MAGIC of ipc/mqueue.c
using Identity = std::pair<std::uint64_t, std::uint64_t>;

std::string name_of(std::string_view link) {
  constexpr std::string_view kRemoved = " (deleted)";
  if (link.ends_with(kRemoved)) link.remove_suffix(kRemoved.size());
  return std::string(link.substr(link.rfind('/')));
}

// What QUEUE, open for reading, says about itself, and whether it could be made again.
struct QueueReading {
  PosixQueue queue;
  long messages = 0;
  std::uint64_t notified = 0;  // who has asked to be told of the next message, mq_notify(3)
};

Result<QueueReading> read_queue(os::Fd queue, const struct stat& status, std::string name) {
  QueueReading reading;
  mq_attr attributes = {};
  if (::mq_getattr(queue.get(), &attributes) < 0) return ErrnoErr("mq_getattr {}", name);
  reading.messages = attributes.mq_curmsgs;
  std::string text(256, '\0');
  const auto length = ::pread(queue.get(), text.data(), text.size(), 0);
  if (length < 0) return ErrnoErr("read {}", name);
  text.resize(static_cast<std::size_t>(length));
  const auto at = text.find("NOTIFY_PID:");  // "QSIZE:0          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     "
  if (at == std::string::npos) return Err("{} does not say who is told of its messages", name);
  reading.notified = std::strtoull(text.c_str() + at + 11, nullptr, 10);
  reading.queue = {std::move(name),      status.st_dev,           status.st_ino,
                   status.st_nlink == 0, status.st_mode & 07777U, status.st_uid,
                   status.st_gid,        attributes.mq_maxmsg,    attributes.mq_msgsize};
  return reading;
}

std::optional<dev_t> own_device() {
  const auto directory = open_queue_directory();
  struct stat status = {};
  if (!directory || !directory->valid() || ::fstat(directory->get(), &status) < 0) return std::nullopt;
  return status.st_dev;
}

// Who outside of the tree has which queue open. NAMES: of queues.
std::map<Identity, pid_t> outside_holders(const Snapshot& snapshot, const std::vector<std::string>& names) {
  std::map<Identity, pid_t> holders;
  for (const pid_t pid : outside_processes(snapshot)) {
    for (const auto& descriptor : os::list_descriptors(pid)) {
      if (!descriptor.link.starts_with('/') ||
          std::ranges::find(names, name_of(descriptor.link)) == names.end())
        continue;
      struct stat status = {};
      if (::stat(fmt::format("/proc/{}/fd/{}", pid, descriptor.number).c_str(), &status) == 0)
        holders.emplace(Identity(status.st_dev, status.st_ino), pid);
    }
  }
  return holders;
}

bool shares_our_ipc_namespace(const Snapshot& snapshot) {
  const auto ours = os::namespace_id(0, "ipc");
  return ours && std::ranges::any_of(snapshot.processes, [&](const Process& process) {
           const auto its = os::namespace_id(process.pid, "ipc");
           return its && *its == *ours;
         });
}

struct ListedQueue {
  std::string name;
  os::UniqueFd file;
  struct stat status = {};
};

Result<std::vector<ListedQueue>> list_queues() {
  std::vector<ListedQueue> queues;
  TRY_ASSIGN(const auto directory, open_queue_directory());
  if (!directory.valid()) return queues;
  TRY_ASSIGN(const auto names, os::list_directory(os::own_descriptor(directory)));
  for (const auto& name : names) {
    ListedQueue queue{
        "/" + name, os::UniqueFd(::openat(directory.get(), name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC))};
    if (!queue.file.valid() || ::fstat(queue.file.get(), &queue.status) < 0) continue;  // gone meanwhile
    queues.push_back(std::move(queue));
  }
  return queues;
}

// An obstacle for each queue of the tree's that somebody outside has open too.
void look_for_holders(const std::map<Identity, pid_t>& holders, Snapshot& snapshot) {
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      const auto& file = snapshot.files[descriptor.file];
      if (file.kind != FileKind::mqueue) continue;
      const auto holder = holders.find({file.path->device, file.path->inode});
      if (holder == holders.end()) continue;
      snapshot.obstacles.push_back(
          {process.pid, descriptor_title(descriptor.fd, file.name),
           fmt::format("process {} ({}), which is not part of the tree, holds it too", holder->second,
                       os::command_line(holder->second)),
           "carry that process too"});
    }
  }
}

bool is_known(const Snapshot& snapshot, const struct stat& status) {
  return std::ranges::any_of(snapshot.posix_queues, [&](const PosixQueue& queue) {
    return queue.device == status.st_dev && queue.inode == status.st_ino;
  });
}

}  // namespace

bool is_posix_queue(const std::string& link) {
  struct statfs system = {};
  return ::statfs(link.c_str(), &system) == 0 && system.f_type == kQueueMagic;
}

Result<std::vector<Reason>> read_posix_queue(const DescriptorFacts& facts, const struct stat& status,
                                             Look tasks, PathFile& path, Snapshot& snapshot) {
  std::vector<Reason> reasons;
  path.path = name_of(facts.link);
  if (own_device() != std::optional(status.st_dev)) {
    reasons.push_back({"it is a message queue of another IPC namespace than ours"});
    return reasons;
  }
  if (is_known(snapshot, status)) return reasons;
  TRY_ASSIGN(const auto file,
             os::open_file(fmt::format("/proc/{}/fd/{}", facts.pid, facts.fd), O_RDONLY | O_NONBLOCK));
  TRY_ASSIGN(auto reading, read_queue(file, status, path.path));
  if (stand_still(tasks) && reading.messages != 0)
    reasons.push_back({"messages wait in it, at which nobody can look without taking them", kTryAgain});
  if (reading.notified != 0)
    reasons.push_back(
        {fmt::format("process {} has asked to be told of the next message in it (mq_notify(3)), and "
                     "nothing tells with which value",
                     reading.notified)});
  snapshot.posix_queues.push_back(std::move(reading.queue));
  return reasons;
}

Result<void> read_posix_queues(Snapshot& snapshot) {
  if (!shares_our_ipc_namespace(snapshot)) return {};
  TRY_ASSIGN(const auto listed, list_queues());
  std::vector<std::string> names;
  for (const auto& queue : listed) names.push_back(queue.name);
  for (const auto& queue : snapshot.posix_queues) names.push_back(queue.name);
  if (names.empty()) return {};
  const auto holders = outside_holders(snapshot, names);
  look_for_holders(holders, snapshot);
  for (const auto& queue : listed) {
    if (is_known(snapshot, queue.status) || holders.contains({queue.status.st_dev, queue.status.st_ino}))
      continue;
    TRY_ASSIGN(auto reading, read_queue(queue.file, queue.status, queue.name));
    if (reading.messages == 0)
      snapshot.posix_queues.push_back(std::move(reading.queue));
    else
      snapshot.losses.push_back({snapshot.processes.front().pid, fmt::format("message queue {}", queue.name),
                                 "nobody has it open, and messages wait in it: it is not carried", ""});
  }
  return {};
}

}  // namespace upkeep::engine
