#pragma once
// What /proc says, parsed. Parsers take text, so that they are tested with fixtures and without root; readers
// take a PID.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// /proc/PID/stat, proc_pid_stat(5): the fields that are used here.
struct ProcStat {
  pid_t pid = 0;
  std::string comm;
  char state = '?';
  pid_t ppid = 0, pgrp = 0, session = 0;
  int tty_nr = 0;                // 0: no controlling terminal
  std::uint64_t flags = 0;       // PF_* of the kernel; PF_KTHREAD is 0x00200000
  std::uint64_t start_time = 0;  // clock ticks after boot
  bool kernel_thread() const { return (flags & 0x00200000U) != 0; }
  // A thread of the process that the kernel has made for an io_uring (PF_IO_WORKER, 5.12 on): it runs nothing
  // of the program's, and never comes to a stop for a tracer.
  bool io_worker() const { return (flags & 0x00000010U) != 0; }
  // PF_EXITING: it runs no code of its program's any more, and lets go of what it has.
  bool exiting() const { return (flags & 0x00000004U) != 0; }
};
Result<ProcStat> parse_stat(std::string_view text);
Result<ProcStat> read_stat(pid_t pid);

// One line of /proc/PID/mountinfo, proc_pid_mountinfo(5); octal escapes are undone.
struct MountInfo {
  int id = 0, parent = 0;
  unsigned major = 0, minor = 0;
  std::string root, mount_point, options, fs_type, source, super_options;
  int shared = 0, master = 0;  // peer groups; 0: none
  bool unbindable = false;
};
Result<std::vector<MountInfo>> parse_mountinfo(std::string_view text);
Result<std::vector<MountInfo>> read_mountinfo(pid_t pid);  // 0: the caller's own
// The mount that PATH (absolute, resolved) lies on, found as the kernel finds it: from the root directory
// down, what is mounted there over what was reached so far. One below a directory that something else has
// been mounted over is not found. MOUNTS: all of a namespace.
const MountInfo* mount_of(const std::vector<MountInfo>& mounts, std::string_view path);

// /proc/PID/status and files like it ("Key:\tvalue" lines).
std::map<std::string, std::string, std::less<>> parse_key_values(std::string_view text);

// All process IDs, ascending; threads of one.
Result<std::vector<pid_t>> list_processes();
Result<std::vector<pid_t>> list_threads(pid_t pid);
bool is_io_worker(pid_t pid, pid_t tid);
// Those that the program has made: without the workers of its io_uring instances.
Result<std::vector<pid_t>> list_own_threads(pid_t pid);
// The descriptors of a process and what their links say ("/var/log/x", "socket:[71]"), proc_pid_fd(5). Those
// that are closed meanwhile are left out; a process that is gone, or may not be looked at, has none.
struct LinkedDescriptor {
  int number = -1;
  std::string link;
};
std::vector<LinkedDescriptor> list_descriptors(pid_t pid);
// ROOT and all its descendants, parents before children; kernel threads never are among them. Of a tree that
// runs, children may be missing whose brother ended meanwhile, while he may be listed (proc_pid_task(5),
// children): who must not miss any asks again until nobody listed is new or gone.
Result<std::vector<pid_t>> process_tree(pid_t root);

// "4026531840" of "mnt:[4026531840]"; kind as in /proc/PID/ns. PID 0: our own.
Result<std::uint64_t> namespace_id(pid_t pid, const std::string& kind);
Result<std::uint64_t> namespace_id_at(Fd directory, const std::string& path);  // in whichever /proc
// Path of the cgroup in the version 2 hierarchy, "/" for the root one.
Result<std::string> cgroup_of(pid_t pid);
Result<std::string> parse_cgroup(std::string_view text);

std::string command_line(pid_t pid);  // for people; falls back to the name where it is empty
std::string kernel_release();         // uname -r
std::string boot_id();                // of this boot, random(4); "": it cannot be read

}  // namespace upkeep::os
