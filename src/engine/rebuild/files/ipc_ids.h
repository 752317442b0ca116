#pragma once
// System V objects with the IDs that they had.

#include <sys/types.h>

#include <functional>

#include "common/result.h"

namespace upkeep::engine {

struct IpcMaker {
  // "shm", "sem", "msg": as in /proc/sys/kernel/shm_next_id (3.9, CONFIG_CHECKPOINT_RESTORE).
  const char* kind;
  int id;
  uid_t creator_uid;
  gid_t creator_gid;
  std::function<int()> get;         // shmget(2) and its like
  std::function<void(int)> remove;  // what has another ID than it should
};

// Whoever makes an object is its creator, which IPC_SET cannot change: a child with those IDs makes it.
Result<void> make_with_id(const IpcMaker& maker);

}  // namespace upkeep::engine
