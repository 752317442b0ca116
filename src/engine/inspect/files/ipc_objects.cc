#include "engine/inspect/files/ipc_objects.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include <cerrno>
#include <charconv>
#include <set>
#include <span>
#include <vector>

#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

// The second column of each line but the first, which is a heading.
std::vector<int> listed_ids(const char* kind) {
  std::vector<int> ids;
  const auto text = os::read_file(std::string("/proc/sysvipc/") + kind).value_or("");
  for (std::size_t at = text.find('\n'); at != std::string::npos && at + 1 < text.size();
       at = text.find('\n', at + 1)) {
    auto column = text.find_first_not_of(' ', at + 1);
    column = text.find(' ', column);
    column = column == std::string::npos ? column : text.find_first_not_of(' ', column);
    int id = -1;
    if (column == std::string::npos) continue;
    if (std::from_chars(text.data() + column, text.data() + text.size(), id).ec == std::errc())
      ids.push_back(id);
  }
  return ids;
}

IpcPermissions permissions_of(int id, const ipc_perm& its) {
  constexpr unsigned kPermissions = 0777;
  return {id, its.__key, its.mode & kPermissions, its.uid, its.gid, its.cuid, its.cgid};
}

// Gone meanwhile: others may remove them at any time.
bool is_gone() { return errno == EINVAL || errno == EIDRM; }

class IpcReader {
 public:
  explicit IpcReader(Snapshot& snapshot) : snapshot_(snapshot) {
    const auto ours = os::namespace_id(0, "ipc");
    for (const auto& process : snapshot.processes) {
      const auto its = os::namespace_id(process.pid, "ipc");
      if (its && ours && *its == *ours) pids_.insert(process.pid);
    }
  }

  Result<void> read() {
    if (pids_.empty()) return {};
    for (const int id : listed_ids("sem")) TRY_IN(fmt::format("semaphore set {}", id), read_semaphores(id));
    for (const int id : listed_ids("msg")) TRY_IN(fmt::format("message queue {}", id), read_queue(id));
    return {};
  }

 private:
  // Whether those who used it last are others, and live. An object that nobody is known to use may be the
  // tree's: it has made it and not used it, or those that did have ended.
  bool is_somebody_elses(const std::vector<int>& users) const {
    bool others = false;
    for (const int pid : users) {
      if (pids_.contains(pid)) return false;
      others = others || (pid > 0 && os::read_stat(pid));
    }
    return others;
  }

  Result<void> read_semaphores(int id) {
    semid_ds about = {};
    if (::semctl(id, 0, IPC_STAT, &about) < 0) return is_gone() ? Result<void>() : ErrnoErr("IPC_STAT");
    if (about.sem_nsems > kMostSemaphores) {
      snapshot_.obstacles.push_back(
          {*pids_.begin(), fmt::format("semaphore set {}", id),
           fmt::format("it has more semaphores than a kernel takes by default ({})", kMostSemaphores), ""});
      return {};
    }
    SemaphoreSet set;
    set.permissions = permissions_of(id, about.sem_perm);
    set.values.resize(about.sem_nsems);
    if (::semctl(id, 0, GETALL, set.values.data()) < 0)
      return is_gone() ? Result<void>() : ErrnoErr("GETALL");
    std::vector<int> users;
    users.reserve(about.sem_nsems);
    for (int i = 0; i < static_cast<int>(about.sem_nsems); ++i) users.push_back(::semctl(id, i, GETPID));
    if (is_somebody_elses(users)) return {};
    for (const int user : users) {
      if (!pids_.contains(user)) continue;
      snapshot_.losses.push_back(
          {user, fmt::format("semaphore set {}", id),
           "what SEM_UNDO would undo when a task ends no kernel tells: it is not carried", ""});
      break;
    }
    snapshot_.semaphore_sets.push_back(std::move(set));
    return {};
  }

  // MSG_COPY looks at a message by its place and leaves it there (3.8).
  Result<void> read_queue(int id) {
    msqid_ds about = {};
    if (::msgctl(id, IPC_STAT, &about) < 0) return is_gone() ? Result<void>() : ErrnoErr("IPC_STAT");
    if (is_somebody_elses({about.msg_lspid, about.msg_lrpid})) return {};
    MessageQueue queue{permissions_of(id, about.msg_perm), about.msg_qbytes, {}};
    std::vector<std::uint8_t> buffer(sizeof(long) + about.__msg_cbytes);
    for (long place = 0;; ++place) {
      const auto size = ::msgrcv(id, buffer.data(), buffer.size() - sizeof(long), place,
                                 MSG_COPY | IPC_NOWAIT | MSG_NOERROR);
      if (size < 0 && errno == ENOMSG) break;
      if (size < 0) return is_gone() ? Result<void>() : ErrnoErr("MSG_COPY");
      auto& message = queue.messages.emplace_back();
      message.type = *reinterpret_cast<const long*>(buffer.data());
      const auto text = std::span(buffer).subspan(sizeof(long), static_cast<std::size_t>(size));
      message.text.data.assign(text.begin(), text.end());
    }
    snapshot_.message_queues.push_back(std::move(queue));
    return {};
  }

  Snapshot& snapshot_;
  std::set<int> pids_;  // of the tree, in our IPC namespace
};

}  // namespace

Result<void> read_ipc_objects(Snapshot& snapshot) { return IpcReader(snapshot).read(); }

}  // namespace upkeep::engine
