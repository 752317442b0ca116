#include "engine/rebuild/files/posix_queues.h"

#include <fcntl.h>
#include <mqueue.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

// Queues count for the one who makes them (RLIMIT_MSGQUEUE), which is us.
void allow_many_queues() {
  rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_MSGQUEUE, &limit) == 0 || ::getrlimit(RLIMIT_MSGQUEUE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_MSGQUEUE, &limit);
}

Result<os::UniqueFd> create(const std::string& name, const PosixQueue& queue) {
  mq_attr attributes = {};
  attributes.mq_maxmsg = queue.most_messages;
  attributes.mq_msgsize = queue.message_size;
  os::UniqueFd fd(::mq_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &attributes));
  if (!fd.valid())
    return ErrnoErr("mq_open ({} messages of {} bytes)", queue.most_messages, queue.message_size);
  return fd;
}

// Once without a name only its users keep it.
Result<os::UniqueFd> create_removed(const PosixQueue& queue) {
  auto name = queue.name;
  auto fd = create(name, queue);
  for (int number = 0; !fd && fd.error().code() == EEXIST && number < 1000; ++number) {
    name = fmt::format("/upkeep-{}-{}", ::getpid(), number);
    fd = create(name, queue);
  }
  if (fd && ::mq_unlink(name.c_str()) < 0) return ErrnoErr("mq_unlink {}", name);
  return fd;
}

Result<void> is_the_recorded_queue(os::Fd fd, const PosixQueue& queue, const Snapshot& snapshot) {
  struct stat status = {};
  if (::fstat(fd.get(), &status) < 0) return ErrnoErr("fstat");
  if (snapshot.boot != os::boot_id() || status.st_dev != queue.device || status.st_ino != queue.inode)
    return Err("another queue has its name: remove that one (mq_unlink(3))");
  return {};
}

Result<void> set_queue_attributes(os::Fd fd, const PosixQueue& queue) {
  if (::fchown(fd.get(), queue.uid, queue.gid) < 0) return ErrnoErr("fchown");
  if (::fchmod(fd.get(), queue.mode) < 0) return ErrnoErr("fchmod");
  return {};
}

}  // namespace

Result<MadePosixQueues> MadePosixQueues::make(const Snapshot& snapshot) {
  MadePosixQueues made;
  if (snapshot.posix_queues.empty()) return made;
  allow_many_queues();
  std::set<std::pair<std::uint64_t, std::uint64_t>> used;
  for (const auto& file : snapshot.files) {
    if (file.kind == FileKind::mqueue) used.emplace(file.path->device, file.path->inode);
  }
  for (const auto& queue : snapshot.posix_queues) {
    const std::pair key(queue.device, queue.inode);
    // What nobody has open is nothing of the tree's: it is made in another kernel only.
    if (!used.contains(key) && snapshot.boot == os::boot_id()) continue;
    auto fd = made.make(queue, snapshot);
    if (!fd) return tl::unexpected(std::move(fd).error().in(fmt::format("message queue {}", queue.name)));
    if (used.contains(key)) made.queues_.emplace(key, std::move(*fd));
  }
  return made;
}

Result<os::UniqueFd> MadePosixQueues::make(const PosixQueue& queue, const Snapshot& snapshot) {
  if (queue.removed) {
    TRY_ASSIGN(auto fd, create_removed(queue));
    TRY(set_queue_attributes(fd, queue));
    return fd;
  }
  if (os::UniqueFd there(::mq_open(queue.name.c_str(), O_RDWR | O_NONBLOCK)); there.valid()) {
    TRY(is_the_recorded_queue(there, queue, snapshot));
    return there;
  }
  TRY_ASSIGN(auto fd, create(queue.name, queue));
  names_.push_back(queue.name);
  TRY(set_queue_attributes(fd, queue));
  return fd;
}

MadePosixQueues::~MadePosixQueues() {
  for (const auto& name : names_) ::mq_unlink(name.c_str());
}

Result<os::UniqueFd> MadePosixQueues::open(const OpenFile& file) const {
  const auto found = queues_.find({file.path->device, file.path->inode});
  if (found == queues_.end()) return Err("its message queue is not part of the snapshot");
  const auto flags = static_cast<int>(file.flags) & ~(O_CREAT | O_EXCL | O_TRUNC);
  TRY_ASSIGN(auto fd, os::open_file(os::own_descriptor(found->second), flags));
  if (file.position != 0 && ::lseek(fd.get(), file.position, SEEK_SET) < 0)
    return ErrnoErr("lseek to {}", file.position);
  return fd;
}

}  // namespace upkeep::engine
