#pragma once
// New tasks say what inspect() will want to know of them, at the end of the program that has set it: nothing
// changes any of it afterwards, and to be asked later takes each of them a stop for every few calls, from a
// signal frame of its own.
//
// Which questions those are says inspect/asked_state.cc. One that is missing here is asked there, which is
// no less true, only slower.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"
#include "engine/tree/answers.h"

namespace upkeep::engine {

class RollCall {
 public:
  // At the end of PROGRAM.
  void ask_thread(Program& program);
  // In its leader: about its session keyring, which is a matter of threads, but the same for all of them.
  void ask_keyring(Program& program);
  void ask_process(const Process& process, Program& program);
  void ask_key(std::int32_t serial, Program& program);
  bool empty() const { return asked_.empty(); }
  // PLACED: the program as it has been run in thread TID.
  void take(pid_t tid, const Program& program, std::span<const std::byte> placed,
            KnownAnswers& answers) const;

 private:
  struct Asked {
    GuestCall call;
    std::size_t index;  // in the program
    std::uint64_t data = 0, room = 0;
  };
  void ask(const GuestCall& call, Program& program, std::size_t room = 32);
  std::vector<Asked> asked_;
};

// The keys of a session keyring that the thread has answered for already.
std::vector<std::int32_t> known_keys(pid_t tid, const KnownAnswers& answers);

}  // namespace upkeep::engine
