#pragma once
// System calls that only ask, made by a task itself: what nobody else can find out about it. Tasks that exist
// are asked by inspect/guest_calls.h; those that we make say it on the way (rebuild/roll_call.h), where
// another call takes no stop of its own.

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace upkeep::engine {

// Where a call writes its answer to: stands for memory of the task's, and is no address of anybody's.
inline constexpr std::uint64_t kAnswerPlace = 0xa115'0000'0000'0000;

struct GuestCall {
  long number = 0;
  std::array<std::uint64_t, 6> arguments = {};
  bool operator==(const GuestCall&) const = default;
};

struct CallAnswer {
  long returned = 0;  // negative errno where the call failed
  std::span<const std::byte> written;
};

// Of threads that have not run since they were asked.
class KnownAnswers {
 public:
  void add(pid_t tid, const GuestCall& call, const CallAnswer& answer);
  // Whether there is one; what was written stays where it is until the next add().
  bool find(pid_t tid, const GuestCall& call, CallAnswer& answer) const;
  std::size_t not_found() const { return not_found_; }  // how often there was none

 private:
  struct Known {
    GuestCall call;
    long returned;
    std::size_t at, size;  // in written_
  };
  std::unordered_map<pid_t, std::vector<Known>> by_thread_;
  std::vector<std::byte> written_;
  mutable std::size_t not_found_ = 0;
};

}  // namespace upkeep::engine
