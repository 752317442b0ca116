#include "engine/native/inspect/outside.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/sockios.h>
#include <set>

#include "engine/native/inspect/readers.h"

namespace upkeep::native {
namespace {

constexpr int kPatience = 1000;  // milliseconds, for all sockets together

std::string why_lonely(const Socket& socket) {
  const auto name = unix_name(socket.remote);
  if (name == kJournalStdout)
    return fmt::format("it is connected to {}, but systemd-journald keeps nothing about it there", name);
  return name.empty() ? "it is connected to a process that is not part of the tree"
                      : fmt::format("it is connected to {}, which is not part of the tree", name);
}

class Outside {
 public:
  Outside(Snapshot& snapshot, bool stopped)
      : snapshot_(snapshot), stopped_(stopped), inside_(snapshot.socket_inodes()) {}

  void look() {
    for (const auto& process : snapshot_.processes) {
      for (const auto& descriptor : process.descriptors) {
        auto& socket = snapshot_.files[descriptor.file].socket;
        if (!socket || socket->peer == 0) continue;
        if (inside_.contains(socket->peer))
          socket->journal.reset();  // journald itself is carried
        else
          look_at(process.pid, descriptor, *socket);
      }
    }
  }

 private:
  void look_at(std::int32_t pid, const Descriptor& descriptor, const Socket& socket) {
    const bool found_again = socket.journal || (socket.type == SOCK_DGRAM && !socket.remote.data.empty());
    if (!found_again)
      return refuse(pid, descriptor, why_lonely(socket), "end that connection, or carry that process too");
    if (stopped_ && !has_been_read(pid, descriptor.fd))
      refuse(pid, descriptor,
             fmt::format("what was written to {} has not been read there", unix_name(socket.remote)),
             "see to it that its reader runs");
  }

  bool has_been_read(std::int32_t pid, std::int32_t number) {
    const auto fd = borrow_descriptor(pid, number);
    for (; fd; --patience_) {
      int bytes = 0;
      if (::ioctl(fd->get(), SIOCOUTQ, &bytes) < 0 || bytes == 0) return true;
      if (patience_ <= 0) return false;
      timespec pause = {0, 1'000'000};
      ::nanosleep(&pause, nullptr);
    }
    return false;
  }

  void refuse(std::int32_t pid, const Descriptor& descriptor, std::string why, std::string remedy) {
    snapshot_.obstacles.push_back(
        {pid, fmt::format("descriptor {} ({})", descriptor.fd, snapshot_.files[descriptor.file].name),
         std::move(why), std::move(remedy)});
  }

  Snapshot& snapshot_;
  bool stopped_;
  int patience_ = kPatience;
  std::set<std::uint64_t> inside_;
};

}  // namespace

void look_outside(Snapshot& snapshot, bool stopped) { Outside(snapshot, stopped).look(); }

}  // namespace upkeep::native
