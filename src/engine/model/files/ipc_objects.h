#pragma once
// System V semaphores and message queues (sysvipc(7)): objects of an IPC namespace, which no descriptor leads to
// and no process owns. Shared memory of that family is a kept file (kept_files.h).

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// struct ipc_perm.
struct IpcPermissions {
  std::int32_t id = 0;
  std::int32_t key = 0;  // 0: IPC_PRIVATE
  std::uint32_t mode = 0, uid = 0, gid = 0, creator_uid = 0, creator_gid = 0;
  bool operator==(const IpcPermissions&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("id", self.id);
    visit("key", self.key);
    visit("mode", self.mode);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("creator_uid", self.creator_uid);
    visit("creator_gid", self.creator_gid);
  }
};

// In one set, of a kernel that nobody has asked for more (SEMMSL; kernel.sem).
inline constexpr std::size_t kMostSemaphores = 32000;

// semget(2). What tasks will have undone when they end (SEM_UNDO) no kernel tells.
struct SemaphoreSet {
  IpcPermissions permissions;
  std::vector<std::uint16_t> values;
  bool operator==(const SemaphoreSet&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("permissions", self.permissions);
    visit("values", self.values);
  }
};

struct QueuedMessage {
  std::int64_t type = 0;
  Bytes text;
  bool operator==(const QueuedMessage&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("type", self.type);
    visit("text", self.text);
  }
};

// msgget(2)
struct MessageQueue {
  IpcPermissions permissions;
  std::uint64_t limit = 0;  // msg_qbytes
  std::vector<QueuedMessage> messages;
  bool operator==(const MessageQueue&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("permissions", self.permissions);
    visit("limit", self.limit);
    visit("messages", self.messages);
  }
};

Result<void> validate(const SemaphoreSet& semaphore_set, const KnownObjects& known);
Result<void> validate(const MessageQueue& message_queue, const KnownObjects& known);

}  // namespace upkeep::engine
