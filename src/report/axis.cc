#include "report/axis.h"

#include <algorithm>

#include "report/format.h"

namespace upkeep::report {
namespace {

constexpr std::int64_t kYear = 366 * 24 * 3600 * kSecond;
// Between two events of the same kernel any time may pass (somebody tries a restore again a day later), but a
// jump that takes longer than this is a new kernel whose clock is wrong.
constexpr std::int64_t kLongestJump = 3600 * kSecond;
// Two writers may stamp their events in one order and write them in the other; that is no clock going back.
constexpr std::int64_t kNotWorthSaying = 1'000'000;
constexpr std::int64_t kEndOfAxis = 100 * kYear;  // a hostile journal shall not make the sum overflow

}  // namespace

std::optional<std::int64_t> nanoseconds(const nlohmann::json& data, const char* name) {
  auto it = data.find(name);
  if (it == data.end() || !it->is_number()) return std::nullopt;
  double value = it->get<double>();
  if (!(value >= 0 && value <= static_cast<double>(kYear))) return std::nullopt;
  return it->get<std::int64_t>();
}

std::int64_t Axis::credible_difference(const Event& event) {
  // Differences are taken as unsigned first: a hostile journal may hold any two numbers.
  auto difference = static_cast<std::int64_t>(static_cast<std::uint64_t>(event.time_ns) -
                                              static_cast<std::uint64_t>(clock_ns_));
  bool other_kernel = !kernel_.empty() && !event.kernel.empty() && kernel_ != event.kernel;
  if (difference < 0) {
    if (difference < -kNotWorthSaying) {
      std::int64_t back = difference < -kYear ? kYear : -difference;
      complaint_ = "the clock went back by " + duration_text(back) + "; what passed there is not counted";
    }
    return 0;
  }
  if (difference > kYear || (other_kernel && difference > kLongestJump)) {
    complaint_ = "the clock went forward by " + duration_text(std::min(difference, kYear)) +
                 (difference > kYear ? " or more" : "") + "; what passed there is not counted";
    return 0;
  }
  return difference;
}

std::int64_t Axis::advance(const Event& event, std::optional<std::int64_t> step_begin) {
  complaint_.clear();
  before_ = now_;
  auto measured = step_begin ? nanoseconds(event.data, "duration_ns") : std::nullopt;
  if (measured) {
    now_ = std::max(now_, *step_begin + *measured);
  } else if (started_ && event.time_ns != 0) {
    now_ += credible_difference(event);
  }
  now_ = std::min(now_, kEndOfAxis);
  if (event.time_ns != 0) {
    started_ = true;
    clock_ns_ = event.time_ns;
  }
  if (!event.kernel.empty()) kernel_ = event.kernel;
  return now_;
}

}  // namespace upkeep::report
