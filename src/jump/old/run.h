#pragma once
// One attempt at an upgrade, in the worker's doer: what the stages before the jump pass on to each other. Everything
// in here dies with the process; what undo needs is in the journal.

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "jump/manifest.h"
#include "jump/request.h"
#include "kexec/target.h"
#include "machine/root.h"
#include "memory/carry_store.h"
#include "operation/operation.h"
#include "os/clock.h"
#include "os/kernel_memory.h"

namespace upkeep::jump {

class Run final : public operation::Attempt {
 public:
  Run(const operation::Plan& plan_in, Request request_in)
      : plan(plan_in), request(std::move(request_in)), clocks_at_start(os::read_clocks()) {}

  operation::Stages stages() override;
  // In the order in which undo wants it: the network opens, then the tasks run on.
  void let_go() override;

  // The first carried task is about to stop: the deadline runs, the window begins.
  void open_window(const operation::Context& context);

  std::string work_directory() const { return "/run/upkeep/" + plan.id; }
  std::string images_directory() const { return work_directory() + "/images"; }

  const operation::Plan& plan;
  Request request;
  os::ClockReading clocks_at_start;

  engine::CarrySet set;
  os::KernelMemory::Use kernel_memory;  // opened once for all looks of a run
  std::optional<kexec::Target> target;
  machine::RootFileSystem root;
  std::optional<memory::CarryStore> store;
  std::optional<memory::StoreWriter> writer;  // into the store
  std::optional<engine::ImageWriter> image;   // from precopy on, in images_directory()
  std::optional<engine::StoppedSet> stopped;  // from park on
  Manifest manifest;
};

// Lowest PID that no kernel thread of the new kernel takes before the carried tasks are back: kernel threads
// there are about as many as here, so half as many again is kept free.
Result<pid_t> lowest_safe_pid();

}  // namespace upkeep::jump
