#include "systemd/journald_sockets.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>

#include "os/file.h"

namespace upkeep::systemd {
namespace {

constexpr const char* kFolder = "/run/systemd/journal";
constexpr const char* kDevLog = "/run/systemd/journal/dev-log";

// ReceiveBuffer=, SendBuffer= of the units: PID 1 sets nothing on a socket that it finds made.
struct Unit {
  const char* path;
  int type;
  bool send_buffer;
};
constexpr std::array<Unit, 3> kUnits = {{{"/run/systemd/journal/socket", SOCK_DGRAM, false},
                                         {"/run/systemd/journal/stdout", SOCK_STREAM, false},
                                         {kDevLog, SOCK_DGRAM, true}}};

Result<void> set_options(os::Fd fd, const Unit& unit) {
  constexpr int kOn = 1, kBuffer = 8 << 20, kMode = 0666;
  for (int option : {SO_PASSCRED, SO_PASSSEC, SO_TIMESTAMP}) {
    if (::setsockopt(fd.get(), SOL_SOCKET, option, &kOn, sizeof kOn) < 0)
      return ErrnoErr("option {}", option);
  }
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kBuffer, sizeof kBuffer) < 0 ||
      (unit.send_buffer && ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kBuffer, sizeof kBuffer) < 0))
    return ErrnoErr("buffers");
  if (::chmod(unit.path, kMode) < 0) return ErrnoErr("chmod");
  return {};
}

Result<os::UniqueFd> bind_to(const char* path, int type) {
  os::UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoErr("socket");
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::string_view(path).copy(name.sun_path, sizeof name.sun_path - 1);
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::string_view(path).size() + 1);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), size) < 0) return ErrnoErr("bind");
  return fd;
}

}  // namespace

JournaldSockets::~JournaldSockets() {
  for (const auto& socket : sockets_) ::unlink(socket.path.c_str());
}

Result<JournaldSockets> JournaldSockets::listen() {
  TRY(os::make_directories(kFolder));
  JournaldSockets made;
  for (const auto& unit : kUnits) {
    TRY_ASSIGN(auto fd, bind_to(unit.path, unit.type).map_error([&](Error error) {
      return std::move(error).in(unit.path);
    }));
    auto& socket = made.sockets_.emplace_back(Named{std::move(fd), unit.path});
    TRY_IN(unit.path, set_options(socket.fd, unit));
    if (unit.type == SOCK_STREAM && ::listen(socket.fd.get(), SOMAXCONN) < 0) return ErrnoErr("listen");
  }
  // Symlinks= of the unit.
  if (::symlink(kDevLog, "/dev/log") < 0 && errno != EEXIST) return ErrnoErr("/dev/log");
  return made;
}

void JournaldSockets::hand_on() {
  for (auto& socket : sockets_) {
    ::fcntl(socket.fd.get(), F_SETFD, 0);
    socket.fd.release();
  }
  sockets_.clear();
}

}  // namespace upkeep::systemd
