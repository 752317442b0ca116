#pragma once
// POSIX message queues, mq_overview(7), which have descriptors and outlive them.

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

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

Result<void> validate(const std::vector<PosixQueue>& queues, const KnownObjects& known);
// Of those that nobody has open there are none again on the same boot.
void make_comparable(std::vector<PosixQueue>& queues, const std::vector<PosixQueue>* other,
                     Comparison& comparison);

}  // namespace upkeep::engine
