// Not part of upkeep's programs: a shared object of its own, loaded into criu in front of libc. See
// socket_options.h. No libc is linked to it, and nothing of C++ but its compiler is used.

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>

extern "C" __attribute__((visibility("default"))) int getsockopt(int fd, int level, int name, void* value,
                                                                 socklen_t* size) noexcept {
  register void* r10 __asm__("r10") = value;
  register socklen_t* r8 __asm__("r8") = size;
  long result = 0;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(long{SYS_getsockopt}), "D"(long{fd}), "S"(long{level}), "d"(long{name}), "r"(r10),
                     "r"(r8)
                   : "rcx", "r11", "memory");
  if (result == -EOPNOTSUPP && level == SOL_SOCKET && (name == SO_PASSCRED || name == SO_PASSSEC) &&
      *size >= sizeof(int)) {
    *static_cast<int*>(value) = 0;
    *size = sizeof(int);
    return 0;
  }
  if (result >= 0) return static_cast<int>(result);
  errno = static_cast<int>(-result);
  return -1;
}
