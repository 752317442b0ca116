#include "engine/inspect/sockets/outside_peers.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/sockios.h>
#include <map>
#include <set>

#include "os/borrow_descriptor.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr int kPatience = 1000;  // milliseconds, for all sockets together

std::string why_lonely(const Socket& socket) {
  const auto name = unix_name(socket.remote);
  if (name == kJournalStdout)
    return fmt::format("it is connected to {}, but systemd-journald keeps nothing about it there", name);
  return name.empty() ? "it is connected to a process that is not part of the tree"
                      : fmt::format("it is connected to {}, which is not part of the tree", name);
}

// Who has it open; nobody of the tree where it is on its way through a socket.
struct Holder {
  std::int32_t pid = 0, fd = -1;
};

class OutsidePeers {
 public:
  OutsidePeers(Snapshot& snapshot, Look tasks)
      : snapshot_(snapshot), tasks_(tasks), inside_(snapshot.socket_inodes()) {
    for (const auto& process : snapshot.processes) {
      for (const auto& descriptor : process.descriptors)
        holders_.emplace(descriptor.file, Holder{process.pid, descriptor.fd});
    }
    for (const auto& file : snapshot.files) {
      if (file.socket) waiting_.insert(file.socket->waiting.begin(), file.socket->waiting.end());
    }
  }

  void look() {
    for (std::uint32_t i = 0; i < snapshot_.files.size(); ++i) {
      auto& socket = snapshot_.files[i].socket;
      if (!socket || socket->family != AF_UNIX) continue;
      if (socket->listening) look_at_listener(i, *socket);
      if (socket->connecting) look_at_client(i, *socket);
      if (socket->peer == 0) continue;
      if (inside_.contains(socket->peer))
        socket->journal.reset();  // journald itself is carried
      else
        look_at(i, *socket);
    }
  }

 private:
  void look_at(std::uint32_t file, const Socket& socket) {
    const bool found_again = socket.journal || (socket.type == SOCK_DGRAM && !socket.remote.data.empty());
    if (!found_again && !is_in_flight(socket.peer))
      return refuse(file, why_lonely(socket), "end that connection, or carry that process too");
    if (!found_again) return;
    if (stand_still(tasks_) && !has_been_read(file))
      refuse(file, fmt::format("what was written to {} has not been read there", unix_name(socket.remote)),
             "see to it that its reader runs");
  }

  // Clients of the tree connect again; those of others have to try again, as after any restart.
  void look_at_listener(std::uint32_t file, Socket& socket) {
    const auto others = std::erase_if(socket.waiting, [&](auto client) { return !inside_.contains(client); });
    if (others == 0) return;
    const auto holder = holders_[file];
    snapshot_.losses.push_back({holder.pid, title(file),
                                fmt::format("{} connections of other processes wait to be accepted", others),
                                "they will find them closed, and have to try again"});
  }

  void look_at_client(std::uint32_t file, const Socket& socket) {
    if (!waiting_.contains(socket.inode))
      refuse(file,
             fmt::format("it waits to be accepted by {}, which is not part of the tree",
                         unix_name(socket.remote)),
             "try again when it has been accepted");
    else if (stand_still(tasks_) && waits_to_be_read(file) != 0)
      refuse(file,
             fmt::format("what was written to {} cannot be seen before it has been accepted there",
                         unix_name(socket.remote)),
             "try again when it has been accepted");
  }

  // What is on its way through a socket shows only when the tasks stand still: nobody has it open.
  bool is_in_flight(std::uint64_t inode) {
    if (stand_still(tasks_)) return false;
    if (open_.empty()) {
      for (pid_t pid : os::list_processes().value_or(std::vector<pid_t>())) {
        for (const auto& descriptor : os::list_descriptors(pid)) open_.insert(descriptor.link);
      }
    }
    return !open_.contains(fmt::format("socket:[{}]", inode));
  }

  int waits_to_be_read(std::uint32_t file) {
    const auto holder = holders_[file];
    int bytes = 0;
    const auto fd =
        holder.fd < 0 ? Result<os::UniqueFd>(os::UniqueFd()) : os::borrow_descriptor(holder.pid, holder.fd);
    return fd && fd->valid() && ::ioctl(fd->get(), SIOCOUTQ, &bytes) == 0 ? bytes : 0;
  }

  bool has_been_read(std::uint32_t file) {
    for (; waits_to_be_read(file) != 0; --patience_) {
      if (patience_ <= 0) return false;
      timespec pause = {0, 1'000'000};
      ::nanosleep(&pause, nullptr);
    }
    return true;
  }

  std::string title(std::uint32_t file) {
    const auto holder = holders_[file];
    const auto& name = snapshot_.files[file].name;
    return descriptor_title(holder.fd, name);
  }
  void refuse(std::uint32_t file, std::string why, std::string remedy) {
    snapshot_.obstacles.push_back({holders_[file].pid, title(file), std::move(why), std::move(remedy)});
  }

  Snapshot& snapshot_;
  Look tasks_;
  int patience_ = kPatience;
  std::set<std::uint64_t> inside_, waiting_;
  std::map<std::uint32_t, Holder> holders_;
  std::set<std::string> open_;  // by anybody
};

}  // namespace

void look_outside(Snapshot& snapshot, Look tasks) { OutsidePeers(snapshot, tasks).look(); }

}  // namespace upkeep::engine
