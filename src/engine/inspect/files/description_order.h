#pragma once
// The order of kcmp(2), so that what leads to the same object is found among thousands.

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>

namespace upkeep::engine {

struct DescriptionPlace {
  std::size_t at = 0;  // of the one that is the same; else where it belongs
  bool same = false;
};

// Looks among COUNT others in that order. ORDER(i): what kcmp(2) answers for the one that is looked for and
// the i-th. One that is gone is the same as none.
template <typename Order>
DescriptionPlace find_in_order(std::size_t count, const Order& order) {
  constexpr long kLess = 1;  // 2 is greater, 3 is unordered and not given by any kernel
  std::size_t low = 0, high = count;
  while (low < high) {
    const auto middle = (low + high) / 2;
    const long answer = order(middle);
    if (answer == 0) return {middle, true};
    if (answer == kLess)
      high = middle;
    else
      low = middle + 1;
  }
  return {low, false};
}

// Looks for descriptor FD of PID among COUNT others; AT(i) is the i-th: something with `pid` and `fd`. One
// that was closed meanwhile is the same as none.
template <typename At>
DescriptionPlace find_description(pid_t pid, int fd, std::size_t count, const At& at) {
  constexpr int kFile = 0;  // KCMP_FILE of linux/kcmp.h
  return find_in_order(count, [&](std::size_t i) {
    const auto& other = at(i);
    return ::syscall(SYS_kcmp, pid, other.pid, kFile, fd, other.fd);
  });
}

}  // namespace upkeep::engine
