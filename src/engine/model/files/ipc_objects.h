#pragma once
// System V semaphores and message queues (sysvipc(7)): objects of an IPC namespace, which no descriptor leads
// to and no process owns; and POSIX message queues, which have descriptors and outlive them. Shared memory of
// that family is a kept file (kept_file.h).

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/text.h"

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

// mq_open(3), mq_overview(7): one that has no messages, for none can be looked at without taking it.
struct PosixQueue {
  std::string name;                     // "/name"
  std::uint64_t device = 0, inode = 0;  // by which open files know it
  bool removed = false;                 // mq_unlink(3): it goes away with its last user
  std::uint32_t mode = 0, uid = 0, gid = 0;
  std::int64_t most_messages = 0, message_size = 0;  // mq_maxmsg, mq_msgsize
  bool operator==(const PosixQueue&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("name", self.name);
    visit("device", self.device);
    visit("inode", self.inode);
    visit("removed", self.removed);
    visit("mode", self.mode);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("most_messages", self.most_messages);
    visit("message_size", self.message_size);
  }
};

}  // namespace upkeep::engine
