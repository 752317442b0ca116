#pragma once
// Open file descriptions, open(2): one of each kind of file.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/names.h"
#include "common/result.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"
#include "engine/model/files/epoll.h"
#include "engine/model/files/eventfd.h"
#include "engine/model/files/file_locks.h"
#include "engine/model/files/inotify.h"
#include "engine/model/files/io_uring.h"
#include "engine/model/files/path_file.h"
#include "engine/model/files/pidfd.h"
#include "engine/model/files/pipe.h"
#include "engine/model/files/signalfd.h"
#include "engine/model/files/terminal.h"
#include "engine/model/files/timerfd.h"
#include "engine/model/sockets/socket.h"

namespace upkeep::engine {

// Who is sent a signal when there is something to read or write, or urgent data: F_SETOWN_EX, F_SETSIG and
// O_ASYNC of fcntl(2).
struct InputSignal {
  std::int32_t type = 0;    // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
  std::int32_t owner = 0;   // 0: nobody (any more)
  std::int32_t signal = 0;  // 0: SIGIO, or SIGURG
  bool on = false;          // O_ASYNC
  bool operator==(const InputSignal&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("type", self.type);
    visit("owner", self.owner);
    visit("signal", self.signal);
    visit("on", self.on);
  }
};

// kept: one of Snapshot::kept_files; fifo: path and pipe; mqueue: one of Snapshot::posix_queues. `other` is what
// cannot be rebuilt: OpenFile::name says what it is.
enum class FileKind : std::uint8_t {
  other,
  path,
  kept,
  pipe,
  fifo,
  eventfd,
  epoll,
  timerfd,
  signalfd,
  inotify,
  pidfd,
  io_uring,
  mqueue,
  socket,
  terminal
};
inline constexpr std::array<std::string_view, 15> kFileKindNames = {
    "other",    "path",    "kept",  "pipe",     "fifo",   "eventfd", "epoll",   "timerfd",
    "signalfd", "inotify", "pidfd", "io_uring", "mqueue", "socket",  "terminal"};
constexpr const auto& names_of(FileKind) { return kFileKindNames; }

// One open file description (open(2)), whoever shares it.
struct OpenFile {
  FileKind kind = FileKind::other;
  std::string name;         // the link of /proc/PID/fd, for people
  std::uint32_t flags = 0;  // F_GETFL
  std::int64_t position = 0;
  std::optional<PathFile> path;
  std::optional<Pipe> pipe;
  std::optional<EventCounter> eventfd;
  std::optional<Epoll> epoll;
  std::optional<TimerFile> timerfd;
  std::optional<SignalFile> signalfd;
  std::optional<Inotify> inotify;
  std::optional<PidFile> pidfd;
  std::optional<IoUring> io_uring;
  std::optional<Socket> socket;
  std::optional<TerminalEnd> terminal;
  std::vector<FileLock> locks;  // "FLOCK" and "OFDLCK"
  std::optional<InputSignal> input_signal;
  bool operator==(const OpenFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("kind", self.kind);
    visit("name", self.name);
    visit("flags", self.flags);
    visit("position", self.position);
    visit("path", self.path);
    visit("pipe", self.pipe);
    visit("eventfd", self.eventfd);
    visit("epoll", self.epoll);
    visit("timerfd", self.timerfd);
    visit("signalfd", self.signalfd);
    visit("inotify", self.inotify);
    visit("pidfd", self.pidfd);
    visit("io_uring", self.io_uring);
    visit("socket", self.socket);
    visit("terminal", self.terminal);
    visit("locks", self.locks);
    visit("input_signal", self.input_signal);
  }
};

// Known by their place in Snapshot::files.
inline std::string title_of(const OpenFile&, std::size_t index) { return fmt::format("file {}", index); }
Result<void> validate(const std::vector<OpenFile>& files, const KnownObjects& known);
Result<void> validate(const OpenFile& file, const KnownObjects& known);
void make_comparable(OpenFile& value, const OpenFile* other, Comparison& comparison);

}  // namespace upkeep::engine
