#pragma once
// The parts of a task's state, each read by a file of its own. Every one of them adds to the model, and to
// the obstacles what it finds that cannot be made again.

#include <sys/stat.h>

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "engine/inspect/calls/guest_calls.h"
#include "engine/inspect/calls/stop.h"
#include "engine/inspect/inspect.h"
#include "engine/inspect/sockets/socket_parts.h"
#include "engine/model/snapshot.h"
#include "os/task_memory.h"
#include "os/time_namespace.h"

namespace upkeep::engine {

// identity.cc: IDs, names, credentials, scheduling, limits, folders, namespaces.
// FOLDER: /proc/PID. Returns the file status there, which is that of its first thread too.
Result<std::string> read_process(pid_t pid, os::Fd folder, Process& process,
                                 std::vector<Obstacle>& obstacles);
// STATUS: /proc/PID/task/TID/status, which others need as well.
Result<Thread> read_thread(pid_t tid, std::string_view status, std::vector<Obstacle>& obstacles);
// The label of a security module. FOLDER: /proc/PID/task/TID.
void look_at_label(pid_t tid, os::Fd folder, std::vector<Obstacle>& obstacles);
Result<void> read_zombie(pid_t pid, Process& process);

// namespaces.cc: those of a process that are other ones than our own.
class NamespaceReader {
 public:
  explicit NamespaceReader(Snapshot& snapshot) : snapshot_(snapshot) {}
  // Before the first one is read: in whose time namespace Snapshot::clocks are read.
  Result<void> choose_clocks(const std::vector<pid_t>& pids);
  const os::ClockOffsets& clocks() const { return clocks_; }
  // Also of one that has ended.
  void read_pid_namespaces(Process& process);
  Result<void> read(Process& process);

 private:
  void read_pid_namespaces(Process& process, os::Fd links);
  NamespaceNumbers numbers_of(os::Fd links);
  std::uint64_t own(const char* kind);
  Snapshot& snapshot_;
  os::ClockOffsets clocks_;
  std::uint64_t clocks_in_ = 0;
  std::map<std::string, std::uint64_t, std::less<>> own_;
  std::map<NamespaceNumbers, std::uint32_t> known_;
  std::set<std::uint64_t> told_, waited_for_;
};
// What one thread has by itself (setns(2), unshare(2)), beside those of its process.
class ThreadNamespaces {
 public:
  explicit ThreadNamespaces(pid_t pid);
  // FOLDER: /proc/PID/task/TID.
  void look_at(pid_t tid, os::Fd folder, std::vector<Obstacle>& obstacles) const;

 private:
  pid_t pid_;
  std::vector<std::string> links_;
};
// Whether its /proc is not ours: in another PID namespace, or beside one that is.
bool shows_other_processes(const Process& process, const Snapshot& snapshot);
// mounts.cc: the mount namespace of a process, beside our own.
Result<std::vector<Mount>> read_mounts(pid_t pid, std::vector<Obstacle>& obstacles);

// address_space.cc. The current end of the heap (brk) comes from the task itself, see read_stopped().
// Its layout is read with the process.
Result<void> read_address_space(pid_t pid, os::Fd folder, bool stopped, AddressSpace& space,
                                std::vector<Obstacle>& obstacles);
// pages.cc: fills in `pages`, and stores contents where there is a sink.
Result<void> read_pages(pid_t pid, AddressSpace& memory, const InspectRequest& request);
// kept_files.cc: when all mappings and descriptors are known.
Result<void> read_kept_files(Snapshot& snapshot, const InspectRequest& request, bool stopped);
// posix_queues.cc: those that nobody has open, and whether others have those of the tree open too.
Result<void> read_posix_queues(Snapshot& snapshot);
// The folder of the message queues of the IPC namespace that we are in; no descriptor where the kernel has
// none.
Result<os::UniqueFd> open_queue_folder();
bool is_posix_queue(const std::string& link);  // of /proc/PID/fd
// huge_pages.cc: whether the machine has as many as the tree will take.
Result<void> look_at_huge_pages(Snapshot& snapshot);
// ipc_objects.cc: all but those that others use.
Result<void> read_ipc_objects(Snapshot& snapshot);

// stopped_state.cc: registers, signals, and what else ptrace(2) tells. STATUSES: the texts of its threads'
// /proc/PID/task/TID/status.
Result<void> read_stopped(const HeldProcess& held, const std::vector<std::string>& statuses, Process& process,
                          std::vector<Obstacle>& obstacles);
// asked_state.cc: what only a task itself can say, for all of them at once; SNAPSHOT has the processes of
// TREE in its order.
Result<void> read_by_calls(const StoppedTree& tree, const std::vector<std::vector<std::string>>& statuses,
                           const InspectRequest& request, Snapshot& snapshot);
// keys.cc: the session keyring with this number (none: negative), asked for in the task, which is the one who
// may read its keys.
Result<void> read_keyring(ThreadCalls& calls, long serial, Process& process, Snapshot& snapshot);
// Keyrings of a process or a thread are not rebuilt: refused where there is something in them.
Result<void> look_for_other_keyrings(ThreadCalls& calls, const Thread& thread, Snapshot& snapshot);

// seccomp.cc: the filters of every thread of a stopped process.
Result<void> read_seccomp(const HeldProcess& held, Process& process, Snapshot& snapshot);

// protection_keys.cc: which keys the process can use. Whether it has more than the first one is asked with
// the other questions; then the rest is.
void ask_first_protection_key(Process& process, std::vector<GuestQuestion>& questions);
Result<void> read_protection_keys(ThreadCalls& calls, Process& process, std::vector<Obstacle>& obstacles);
// Calls take arguments from memory as the thread may, and it returns from them over its stack: false, and an
// obstacle, where its rights do not allow that. Its registers have been read.
bool may_run_calls(const Process& process, const Thread& thread, const GuestCode& code,
                   std::vector<Obstacle>& obstacles);

// One descriptor, and the task whose it is.
struct DescriptorFacts {
  pid_t pid = 0;  // where to look; of a copy it is ourselves
  int fd = -1;
  // Whose it is; 0 and -1: nobody's yet, for it is on its way through a socket.
  pid_t holder = 0;
  int number = -1;
  std::string link;
  std::string info;  // of /proc/PID/fdinfo
  std::uint64_t device = 0, inode = 0;
  os::Fd own_root{-1};               // our root folder, wherever names lead now
  os::Fd process{-1};                // a pidfd of PID, where there is one
  std::uint64_t own_network = 0;     // SO_NETNS_COOKIE of our sockets; 0: this kernel has none (before 5.14)
  SocketDiag* own_diag = nullptr;    // asked about sockets of our network
  os::Survivor* survivor = nullptr;  // puts back what is changed for a look if we end during it
  bool inner = false;                // it sees the processes of another PID namespace
  std::string title() const { return descriptor_title(number, link); }
};

// descriptors.cc: of all descriptors of a process, in their order. Names are those that they have for the
// calling thread. One that is closed meanwhile is left out, or an error where the process is STOPPED.
Result<std::vector<DescriptorFacts>> read_descriptor_facts(pid_t pid, bool stopped);

// memory_locks.cc: what mlockall(2) has asked for, of mappings that are still to be made.
Result<std::uint32_t> read_future_locks(ThreadCalls& calls, const Process& process);

struct OpenFileReading {
  OpenFile file;
  std::vector<InFlight> in_flight;  // descriptors on their way through it, where it is a socket
};

// descriptors.cc: all descriptors of all processes, and which of them share an open file description.
class DescriptorReader {
 public:
  // SURVIVOR: puts back what is changed for a look; may be null.
  DescriptorReader(Snapshot& snapshot, os::Survivor* survivor);
  Result<void> read(Process& process, std::vector<DescriptorFacts> descriptors, bool stopped);
  // Entries of epoll sets name files by number: worked out when all descriptors are known.
  void finish(bool stopped);

 private:
  struct Place {
    pid_t pid;
    int fd;
    std::uint32_t file;
    std::uint64_t inode;
  };
  void add_what_is_ours(DescriptorFacts& facts);
  Result<std::uint32_t> file_of(const DescriptorFacts& facts, bool stopped);
  Result<OpenFileReading> read_held(const DescriptorFacts& facts);
  Result<void> read_in_flight(std::uint32_t socket, std::vector<InFlight> in_flight);
  const Place* watched(const Place& set, const EpollWatch& watch, std::uint32_t occurrence) const;
  Snapshot& snapshot_;
  os::UniqueFd own_root_;  // from before any mount namespace was entered
  std::uint64_t own_network_;
  SocketDiag own_diag_;
  os::Survivor* survivor_;
  // Only descriptors of the same object are compared with kcmp(2), whose order they are kept in, as indices
  // into places_: thousands of descriptors may be of one object (/dev/null, and whatever has no name).
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<std::uint32_t>> sorted_;
  std::vector<Place> places_;            // one for each of Snapshot::files
  std::vector<os::UniqueFd> in_flight_;  // they stay open, since they are places too
};

// posix_queues.cc: a message queue that the descriptor leads to, whose STATUS this is. Returns why it cannot
// be rebuilt.
Result<std::vector<Reason>> read_posix_queue(const DescriptorFacts& facts, const struct stat& status,
                                             bool stopped, PathFile& path, Snapshot& snapshot);

// open_file.cc: what one descriptor leads to; the same open file description, as a descriptor of our own.
Result<os::UniqueFd> borrow_descriptor(const DescriptorFacts& facts);
Result<OpenFileReading> read_open_file(const DescriptorFacts& facts, bool stopped, Snapshot& snapshot);

// inotify.cc, kernel_files.cc. They return why it cannot be rebuilt; empty where it can.
Result<std::vector<std::string>> read_inotify(const DescriptorFacts& facts, Inotify& inotify);
Result<std::vector<std::string>> read_pidfd(const DescriptorFacts& facts, PidFile& pidfd);
// Files of /proc, of /sys and of cgroups, whose names say what they are.
bool is_kernel_file(std::string_view path);
std::vector<std::string> read_kernel_file(const DescriptorFacts& facts, std::uint32_t flags, PathFile& path);
// Files of /proc that belong to tasks which are not part of the tree.
void look_at_foreign_files(Snapshot& snapshot);

// socket.cc
Result<void> read_socket(SocketReading& reading, std::uint64_t inode);

}  // namespace upkeep::engine
