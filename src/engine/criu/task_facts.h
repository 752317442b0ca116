#pragma once
// What is looked at to say whether a task can be carried: read from /proc (or a folder that looks like it)
// without stopping anything.

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace upkeep::engine::criu {

struct Descriptor {
  int number = -1;
  std::string link;  // "socket:[123]", "anon_inode:[eventpoll]", "/var/log/x (deleted)"
  std::string info;  // fdinfo
  std::optional<struct stat> status;
  bool displaced = false;       // its path leads to something else by now, or nowhere
  std::uint64_t inode() const;  // of "kind:[INODE]" links; 0 for others
};

struct Mapping {
  std::string permissions;  // "rw-s"
  std::uint64_t inode = 0;
  std::string name;
};

struct TaskFacts {
  pid_t pid = 0;
  std::string comm;
  char state = '?';
  pid_t session = 0;
  int terminal = 0;                                              // tty_nr of stat; 0: none
  std::map<std::string, std::string, std::less<>> status;        // /proc/PID/status
  std::map<std::string, std::uint64_t, std::less<>> namespaces;  // "mnt" -> id
  std::vector<Descriptor> descriptors;
  std::vector<Mapping> mappings;
  std::string security;        // AppArmor's label, "" where there is none
  int word_size = 0;           // bits of the program; 0: unknown
  bool shares_memory = false;  // with its parent (vfork, clone with CLONE_VM)
  // Bytes that the C library registers for restartable sequences (rseq) as far as the auxiliary vector and
  // GLIBC_TUNABLES tell; 0: none, or not known.
  unsigned rseq_size = 0;
};

// Errors name the file. PROC: where /proc is.
Result<TaskFacts> read_task(pid_t pid, const std::string& proc = "/proc");
std::map<std::string, std::uint64_t, std::less<>> read_namespaces(const std::string& task_folder);

// Lines of /proc/PID/maps; what cannot be read as one is left out.
std::vector<Mapping> parse_mappings(std::string_view text);
// The value of "key:\tvalue" in fdinfo, as a number; repeated keys give several.
std::vector<std::int64_t> fdinfo_numbers(std::string_view info, std::string_view key);

// Who else has an object open: links ("pipe:[7]", "socket:[8]", paths of FIFOs) to the PIDs that hold it.
using Holders = std::multimap<std::string, pid_t>;
Holders read_holders(const std::string& proc = "/proc");

}  // namespace upkeep::engine::criu
