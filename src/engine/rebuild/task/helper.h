#pragma once
// The process that makes a tree's roots. It is a fork of ours which gets ready while other things are made:
// maps the arena, and then gives all other memory back, so that nothing of ours gets into the tree.

#include <cstdint>
#include <optional>
#include <set>

#include "common/result.h"
#include "engine/rebuild/calls/call_arena.h"
#include "engine/rebuild/calls/program.h"
#include "os/ptrace.h"

namespace upkeep::engine {

class Helper {
 public:
  // SHOP stays where it is.
  explicit Helper(CallArena& arena) : arena_(arena) {}
  Helper(const Helper&) = delete;
  ~Helper();  // one that is still there is killed
  // Under none of IDS, which are needed for the tree. OPTIONS: of os::Tracee::seize().
  Result<void> start(const std::set<std::int32_t>& ids, unsigned long options);
  // Returns at once. The arena runs nothing else until begin_roots().
  Result<void> begin_emptying();
  // PROGRAM makes the roots, which are given to the taker, and the helper ends with it, beside whatever is
  // done next. The arena runs nothing else between the first two; nothing large before the third.
  Result<void> begin_roots(Program program);
  Result<void> take_roots(const CallArena::NewTask& taker);
  Result<void> await_end();

 private:
  Result<void> await_arena() const;

  CallArena& arena_;
  std::optional<os::Tracee> task_;
  Program program_;
  std::optional<CallArena::Running> running_;
};

}  // namespace upkeep::engine
