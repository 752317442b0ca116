#pragma once
// What a stage may use while it is applied, whatever the operation: the journal, under its own name, and the
// deadline. What stages pass on to each other belongs to the operation (operation.h).

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "common/event.h"
#include "common/result.h"
#include "operation/journal.h"
#include "os/fd.h"

namespace upkeep::operation {

// Where events go: to a journal, or to a queue until the file system is there that has it (EventQueue).
struct Record {
  EventSink emit;
  std::function<Result<void>()> sync;  // what was emitted is on disk
};
Record record_in(Journal& journal);  // which must outlive it

class Context {
 public:
  // DEADLINE: a pipe to the worker's supervisor; one byte on it starts the deadline. Invalid where nobody
  // listens.
  explicit Context(Record record, os::UniqueFd deadline = {})
      : record_(std::move(record)), deadline_(std::move(deadline)) {}

  void emit(const Event& event) const { record_.emit(event); }
  void progress(const std::string& text) const { emit({"progress", stage_, text}); }
  void warn(const std::string& text) const { emit({"warning", stage_, text}); }
  // Recorded before the change that it announces is made.
  void fact(const nlohmann::json& facts) const { emit({"fact", stage_, "", facts}); }
  Result<void> sync() const { return record_.sync(); }

  // The stage that begins now, or began at BEGAN_NS (CLOCK_REALTIME; 0: now). The runner calls it. Who calls it
  // before the runner does says that a stage began earlier: the first one of a kernel begins with its PID 1.
  void enter(const std::string& stage, std::int64_t began_ns = 0);
  const std::string& stage() const { return stage_; }

  // What the event that ends the stage says, for people: "12 tasks run".
  void conclude(std::string text) { conclusion_ = std::move(text); }
  std::string take_conclusion() { return std::exchange(conclusion_, {}); }

  // From now on the plan's deadline runs: over before the last stage is done, everything is undone.
  void start_deadline() const;

 private:
  Record record_;
  os::UniqueFd deadline_;
  std::string stage_, conclusion_;
};

}  // namespace upkeep::operation
