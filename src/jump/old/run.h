#pragma once
// One attempt at an upgrade, in the worker's doer: what the stages pass on to each other. Everything in here
// dies with the process; what undo needs is in the journal.

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "jump/init_config.h"
#include "jump/manifest.h"
#include "jump/plan.h"
#include "kexec/target.h"
#include "memory/carry_store.h"
#include "operation/journal.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/kernel_memory.h"

namespace upkeep::jump {

class Run {
 public:
  // WINDOW: a pipe to the supervisor; one byte on it starts the deadline. Invalid where nobody listens.
  Run(const Plan& plan_in, operation::Journal& journal_in, os::UniqueFd window)
      : plan(plan_in), journal(journal_in), clocks_at_start(os::read_clocks()), window_(std::move(window)) {}

  void emit(const Event& event) { (void)journal.append(event); }
  void progress(const std::string& text) { emit({"progress", stage_, text}); }
  void warn(const std::string& text) { emit({"warning", stage_, text}); }
  // Recorded before the change that it announces is made.
  void fact(const nlohmann::json& facts) { emit({"fact", stage_, "", facts}); }

  void enter(const std::string& stage);  // the stage that now begins
  const std::string& stage() const { return stage_; }

  // The first carried task is about to stop: the deadline runs, the window begins.
  void open_window();
  // Ends what this process holds, in the order in which undo wants it: the network opens, then the tasks run
  // on.
  void let_go();

  std::string work_folder() const { return "/run/upkeep/" + plan.id; }
  std::string images_folder() const { return work_folder() + "/images"; }

  const Plan& plan;
  operation::Journal& journal;
  os::ClockReading clocks_at_start;

  engine::CarrySet set;
  os::KernelMemory::Use kernel_memory;  // opened once for all looks of a run
  std::optional<kexec::Target> target;
  machine::RootFileSystem root;
  std::optional<memory::CarryStore> store;
  std::optional<memory::StoreWriter> writer;  // into the store
  std::optional<engine::ImageWriter> image;   // from precopy on, in images_folder()
  std::optional<engine::StoppedSet> stopped;  // from park on
  Manifest manifest;

 private:
  std::string stage_;
  os::UniqueFd window_;
};

// Lowest PID that no kernel thread of the new kernel takes before the carried tasks are back: kernel threads
// there are about as many as here, so half as many again is kept free.
Result<pid_t> lowest_safe_pid();

}  // namespace upkeep::jump
