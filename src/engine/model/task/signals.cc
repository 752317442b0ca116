#include "engine/model/task/signals.h"

#include <signal.h>

#include <array>
#include <cstring>

namespace upkeep::engine {
namespace {

bool sent_by_timer(const Bytes& info) {
  std::array<std::int32_t, 3> head = {};  // si_signo, si_errno, si_code
  if (info.data.size() < sizeof head) return false;
  std::memcpy(head.data(), info.data.data(), sizeof head);
  return head[0] == SIGALRM || head[0] == SIGVTALRM || head[0] == SIGPROF || head[2] == SI_TIMER;
}

}  // namespace

void forget_signals_of_timers(std::vector<Bytes>& pending) { std::erase_if(pending, sent_by_timer); }

}  // namespace upkeep::engine
