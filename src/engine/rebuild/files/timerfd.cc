#include "engine/rebuild/files/timerfd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <span>

#include "os/clock.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

Result<os::UniqueFd> checked_fd(int fd, const char* what) {
  if (fd < 0) return ErrnoErr("{}", what);
  return os::UniqueFd(fd);
}

// An alarm clock can only be read where the machine has one to wake up by.
clockid_t base_clock(clockid_t clock) {
  if (clock == CLOCK_REALTIME_ALARM) return CLOCK_REALTIME;
  return clock == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME : clock;
}

}  // namespace

Result<os::UniqueFd> make_timerfd(const TimerFile& timer) {
  TRY_ASSIGN(auto fd, checked_fd(::timerfd_create(timer.clock, TFD_CLOEXEC), "timerfd_create"));
  itimerspec time = {os::to_timespec(timer.interval), os::to_timespec(timer.value)};
  const bool absolute = (timer.settime_flags & TFD_TIMER_ABSTIME) != 0;
  if (absolute && timer.value != 0) {
    timespec now = {};
    ::clock_gettime(base_clock(timer.clock), &now);
    const auto then =
        static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
    time.it_value = os::to_timespec(then + timer.value);
  }
  constexpr std::uint32_t kFlags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
  if (::timerfd_settime(fd.get(), static_cast<int>(timer.settime_flags & kFlags), &time, nullptr) < 0)
    return ErrnoErr("timerfd_settime");
  const std::uint64_t ticks = timer.expirations;
  constexpr unsigned long kSetTicks = 0x40085400;  // TFD_IOC_SET_TICKS
  if (ticks != 0 && ::ioctl(fd.get(), kSetTicks, &ticks) < 0) return ErrnoErr("TFD_IOC_SET_TICKS");
  return fd;
}

Result<os::UniqueFd> make_signalfd(const SignalFile& file) {
  const auto mask = file.mask;
  return checked_fd(static_cast<int>(::syscall(SYS_signalfd4, -1, &mask, sizeof mask, O_CLOEXEC)),
                    "signalfd");
}

Result<os::UniqueFd> make_eventfd(const EventCounter& counter) {
  TRY_ASSIGN(auto fd,
             checked_fd(::eventfd(0, EFD_CLOEXEC | (counter.semaphore ? EFD_SEMAPHORE : 0)), "eventfd"));
  // What is larger than an int can only be added afterwards.
  if (counter.count != 0) TRY(os::write_all(fd, std::as_bytes(std::span(&counter.count, 1))));
  return fd;
}

}  // namespace upkeep::engine
