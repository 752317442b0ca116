#pragma once
// Where programs reach systemd-journald, before there is a systemd: carried tasks are connected to it again,
// and what they say meanwhile waits in the sockets.
//
// Who becomes systemd hands the sockets on: PID 1 takes listening sockets that it is born with for the socket
// units that they match (socket_distribute_fds() of systemd's src/core/socket.c; containers are activated
// so), and gives them to journald when that starts. Nothing has to be put right afterwards.

#include <string>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::systemd {

class JournaldSockets {
 public:
  JournaldSockets() = default;
  JournaldSockets(JournaldSockets&&) = default;
  JournaldSockets& operator=(JournaldSockets&&) = default;
  ~JournaldSockets();  // the names go away, unless they were handed on

  // Those of systemd-journald.socket and systemd-journald-dev-log.socket, with all that these units set. An
  // error where one of the names is taken.
  static Result<JournaldSockets> listen();
  // From now on they belong to the program that this process becomes.
  void hand_on();

 private:
  struct Named {
    os::UniqueFd fd;
    std::string path;
  };
  std::vector<Named> sockets_;
};

}  // namespace upkeep::systemd
