#include "engine/tree/answers.h"

#include <algorithm>

namespace upkeep::engine {

void KnownAnswers::add(pid_t tid, const GuestCall& call, const CallAnswer& answer) {
  by_thread_[tid].push_back({call, answer.returned, written_.size(), answer.written.size()});
  written_.insert(written_.end(), answer.written.begin(), answer.written.end());
}

bool KnownAnswers::find(pid_t tid, const GuestCall& call, CallAnswer& answer) const {
  const auto thread = by_thread_.find(tid);
  const Known* known = nullptr;
  if (thread != by_thread_.end()) {
    const auto place = std::ranges::find(thread->second, call, &Known::call);
    if (place != thread->second.end()) known = &*place;
  }
  if (known == nullptr) {
    ++not_found_;
    return false;
  }
  answer = {known->returned, std::span(written_).subspan(known->at, known->size)};
  return true;
}

}  // namespace upkeep::engine
