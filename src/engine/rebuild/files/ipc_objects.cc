#include "engine/rebuild/files/ipc_objects.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "engine/rebuild/files/ipc_ids.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

int flags_of(const IpcPermissions& its) { return IPC_CREAT | IPC_EXCL | static_cast<int>(its.mode); }

void set_owner(ipc_perm& permissions, const IpcPermissions& its) {
  permissions.uid = its.uid;
  permissions.gid = its.gid;
  permissions.mode = static_cast<unsigned short>(its.mode);
}

// A message may be longer than a kernel takes by default (kernel.msgmax).
Result<void> allow_messages_of(std::size_t size) {
  const std::string limit = "/proc/sys/kernel/msgmax";
  TRY_ASSIGN(const auto text, os::read_file(limit));
  if (std::strtoull(text.c_str(), nullptr, 10) < size) TRY(os::write_value(limit, fmt::to_string(size)));
  return {};
}

Result<void> send(int id, const QueuedMessage& message) {
  const long type = message.type;
  std::string buffer(reinterpret_cast<const char*>(&type), sizeof type);
  buffer.append(message.text.data.begin(), message.text.data.end());
  if (::msgsnd(id, buffer.data(), message.text.data.size(), IPC_NOWAIT) < 0) return ErrnoErr("msgsnd");
  return {};
}

}  // namespace

Result<MadeIpcObjects> MadeIpcObjects::make(const Snapshot& snapshot) {
  MadeIpcObjects made;
  if (snapshot.boot == os::boot_id()) return made;
  for (const auto& set : snapshot.semaphore_sets)
    TRY_IN(fmt::format("semaphore set {}", set.permissions.id), made.make(set));
  for (const auto& queue : snapshot.message_queues)
    TRY_IN(fmt::format("message queue {}", queue.permissions.id), made.make(queue));
  return made;
}

Result<void> MadeIpcObjects::make(const SemaphoreSet& set) {
  const auto& its = set.permissions;
  const int count = static_cast<int>(set.values.size());
  TRY(make_with_id({"sem", its.id, its.creator_uid, its.creator_gid,
                    [&] { return ::semget(its.key, count, flags_of(its)); },
                    [](int other) { ::semctl(other, 0, IPC_RMID); }}));
  semaphore_sets_.push_back(its.id);
  semid_ds about = {};
  if (::semctl(its.id, 0, IPC_STAT, &about) < 0) return ErrnoErr("IPC_STAT");
  set_owner(about.sem_perm, its);
  if (::semctl(its.id, 0, IPC_SET, &about) < 0) return ErrnoErr("IPC_SET");
  if (::semctl(its.id, 0, SETALL, set.values.data()) < 0) return ErrnoErr("SETALL");
  return {};
}

Result<void> MadeIpcObjects::make(const MessageQueue& queue) {
  const auto& its = queue.permissions;
  TRY(make_with_id({"msg", its.id, its.creator_uid, its.creator_gid,
                    [&] { return ::msgget(its.key, flags_of(its)); },
                    [](int other) { ::msgctl(other, IPC_RMID, nullptr); }}));
  queues_.push_back(its.id);
  msqid_ds about = {};
  if (::msgctl(its.id, IPC_STAT, &about) < 0) return ErrnoErr("IPC_STAT");
  set_owner(about.msg_perm, its);
  about.msg_qbytes = queue.limit;
  if (::msgctl(its.id, IPC_SET, &about) < 0) return ErrnoErr("IPC_SET");
  std::size_t longest = 0;
  for (const auto& message : queue.messages) longest = std::max(longest, message.text.data.size());
  TRY(allow_messages_of(longest));
  for (const auto& message : queue.messages) TRY(send(its.id, message));
  return {};
}

void MadeIpcObjects::keep() {
  semaphore_sets_.clear();
  queues_.clear();
}

MadeIpcObjects::~MadeIpcObjects() {
  for (const int id : semaphore_sets_) ::semctl(id, 0, IPC_RMID);
  for (const int id : queues_) ::msgctl(id, IPC_RMID, nullptr);
}

}  // namespace upkeep::engine
