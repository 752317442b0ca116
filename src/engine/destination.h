#pragma once
// Where tasks go, and what of theirs cannot be had there. One rule for each reason, each
// answers with the reason, empty where there is none.

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace upkeep::engine {

struct Destination {
  // PIDs and thread IDs below may be taken by kernel threads there, which makes them impossible.
  pid_t lowest_safe_pid = 0;
  std::string release;  // `uname -r`; empty: not known, and nothing is said about it
};

std::string why_not_this_id(pid_t id, const Destination& destination);
inline constexpr const char* kHigherId = "restart it: a new process has a higher number";

// SIZE: bytes of the area that a thread has registered with rseq(2). What a kernel before 6.3 takes is 32
// bytes and nothing else; the C library registers as many as the kernel that a program was started on knows
// features of (AT_RSEQ_FEATURE_SIZE, getauxval(3)).
std::string why_not_this_rseq(unsigned size, const Destination& destination);
inline constexpr const char* kSmallerRseq =
    "go to Linux 6.3 or newer, or start it with GLIBC_TUNABLES=glibc.pthread.rseq=0";
// What the libc of a process has registered, from its auxiliary vector; 0: nothing. DIRECTORY: /proc/PID.
unsigned rseq_size_of(const std::string& directory);

// FLAGS: with which an io_uring was made (os/io_uring.h). Those that are carried are all of 5.19 or older but
// for one, which libuv uses from 6.6 on.
std::string why_not_this_ring(std::uint32_t flags, const Destination& destination);
inline constexpr const char* kOlderRing = "go to Linux 6.6 or newer";

// Of a process with guard regions (MADV_GUARD_INSTALL of madvise(2)).
std::string why_not_guard_regions(const Destination& destination);
inline constexpr const char* kNewerGuards = "go to Linux 6.13 or newer";

// In this kernel, before tasks are made: new processes take the next free PID, beyond those that are needed.
void keep_clear_of(pid_t highest);

}  // namespace upkeep::engine
