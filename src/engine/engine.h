#pragma once
// The seam: what carries tasks from one kernel to the next. Callers know a carry set, a folder of images and
// a manifest; which engine fills and reads them stays behind here.
//
// What the design asks of every engine:
//  - snapshot() ends with everything standing still and the images complete; nothing is ever killed by it.
//    The tasks run on when the StoodStill is let go, and also when this process dies of whatever cause.
//  - on_parked comes when all tasks have stopped and before any socket queue is read: the moment to close the
//    network (a queue read while packets still arrive would lose what is acknowledged afterwards).
//  - restore() makes the tasks, stopped, in all trees; on_restored then decides whether they run or vanish.

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/event.h"
#include "common/finding.h"
#include "common/result.h"
#include "engine/carry_set.h"
#include "engine/destination.h"

namespace upkeep::engine {

// Called from the thread that called snapshot() or restore(). Unset hooks are skipped. `facts` receives what
// was measured ("engine.parked" and so on), as events of kind "fact".
struct SnapshotHooks {
  std::function<Result<void>()>
      on_ready;  // the engine's own programs have started; nothing has been stopped yet
  std::function<Result<void>()>
      on_parked;  // every carried task stands still, no queue has been read: close the network
  std::function<bool()> cancelled;  // asked about ten times a second; true: undo and return an error
  EventSink facts;
};

struct RestoreHooks {
  // The engine has begun to read images; no task has been made. Work that may run beside that belongs here
  // (addresses and routes have to be back before the first socket is).
  std::function<Result<void>()> on_started;
  // Some of the tasks are connected to systemd-journald, which is to listen from here on: where there is no
  // systemd yet, whoever restores has to do it.
  std::function<Result<void>()> on_journald_wanted;
  // Every task exists, with its PID, memory, descriptors and sockets, and has not run an instruction of its
  // own. An error ends all of them: nothing of theirs ever ran, and no packet was sent.
  std::function<Result<void>(const std::vector<pid_t>& pids)> on_restored;
  // Last look before they run: sockets have left repair mode. Cannot be refused any more.
  std::function<void()> on_resuming;
  EventSink facts;
};

struct SnapshotRequest {
  std::string
      images;  // folder that is there, empty or used by prepare(); on a file system that takes write(2)
  // Over: undone. From the first stop to the images being complete. Zero: no limit.
  std::chrono::milliseconds deadline{0};
};

struct Restored {
  std::vector<pid_t> roots;  // children of PID 1 (or of the nearest subreaper) from now on
  std::vector<pid_t> pids;
};

// A carry set that stands still, images complete. Destruction resumes.
class StoodStill {
 public:
  virtual ~StoodStill() = default;
  // What restore() needs beside the images; part of the manifest that crosses.
  virtual const nlohmann::json& manifest() const = 0;
  // The trees as they stand still. Until then tasks came and went: what was asked for names the roots only.
  virtual const CarrySet& set() const = 0;
  // Every task runs on as if nothing had happened, and what the snapshot left on disk is gone. Only the first
  // call does something.
  virtual Result<void> resume() = 0;
};

// Kernel modules that restore() asks the new kernel's questions through. Nobody loads them for it there, for
// there is no modprobe yet where the kernel looks for it.
inline constexpr const char* kModules[] = {"unix_diag"};

class Engine {
 public:
  virtual ~Engine() = default;
  // What stands in the way of carrying SET; nothing is stopped for it. What this accepts, snapshot() then
  // carries and restore() in DESTINATION makes again.
  virtual std::vector<Finding> check(const CarrySet& set, const Destination& destination) = 0;

  // Copies memory beforehand where that makes the window shorter; stops the tasks for a moment (reported as
  // the fact "engine.prepare"). Returns false where the kernel or the carry set does not lend itself to it.
  virtual Result<bool> prepare(const CarrySet& set, const std::string& images, const EventSink& facts) = 0;

  // Stops the trees in the order in which the set lists them.
  virtual Result<std::unique_ptr<StoodStill>> snapshot(const CarrySet& set, const SnapshotRequest& request,
                                                       const SnapshotHooks& hooks) = 0;

  // Each task goes back into the cgroup that the manifest names before on_restored is called.
  virtual Result<Restored> restore(const std::string& images, const nlohmann::json& manifest,
                                   const RestoreHooks& hooks) = 0;
};

}  // namespace upkeep::engine
