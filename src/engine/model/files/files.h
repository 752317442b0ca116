#pragma once
// Open file descriptions and the descriptors that lead to them.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/names.h"
#include "engine/model/files/terminal.h"
#include "engine/model/sockets/sockets.h"
#include "engine/model/text.h"

namespace upkeep::engine {

// A pipe is known by its inode: both ends, and both ends in several tasks, name the same one.
struct Pipe {
  std::uint64_t inode = 0;
  std::uint32_t capacity = 0;  // F_GETPIPE_SZ
  Bytes data;                  // unread
  bool operator==(const Pipe&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("inode", self.inode);
    visit("capacity", self.capacity);
    visit("data", self.data);
  }
};

// eventfd(2)
struct EventCounter {
  std::uint64_t count = 0;
  bool semaphore = false;
  bool operator==(const EventCounter&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("count", self.count);
    visit("semaphore", self.semaphore);
  }
};

// One entry of an epoll set. The number is the one that the file had when it was added; another file may have
// it by now.
struct EpollWatch {
  std::int32_t fd = 0;
  std::uint32_t events = 0;
  std::uint64_t data = 0;
  std::uint32_t file = 0;   // index into Snapshot::files
  std::uint64_t inode = 0;  // of the file, while it is looked for
  bool operator==(const EpollWatch&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("fd", self.fd);
    visit("events", self.events);
    visit("data", self.data);
    visit("file", self.file);
  }
};
struct Epoll {
  std::vector<EpollWatch> watches;
  bool operator==(const Epoll&) const = default;
  static void fields(auto& self, auto& visit) { visit("watches", self.watches); }
};

// timerfd_create(2); times in nanoseconds.
struct TimerFile {
  std::int32_t clock = 0;
  std::uint64_t expirations = 0;  // not read yet
  std::uint32_t settime_flags = 0;
  std::uint64_t value = 0, interval = 0;  // time left; 0: disarmed
  bool operator==(const TimerFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("clock", self.clock);
    visit("expirations", self.expirations);
    visit("settime_flags", self.settime_flags);
    visit("value", self.value);
    visit("interval", self.interval);
  }
};

struct SignalFile {
  std::uint64_t mask = 0;  // bit 0: signal 1
  bool operator==(const SignalFile&) const = default;
  static void fields(auto& self, auto& visit) { visit("mask", self.mask); }
};

// inotify(7). Watches are known by the inode; the path is one that leads to it.
struct InotifyWatch {
  std::int32_t wd = 0;
  std::uint32_t mask = 0;
  std::string path;
  std::uint64_t device = 0, inode = 0;
  bool operator==(const InotifyWatch&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("wd", self.wd);
    visit("mask", self.mask);
    visit("path", self.path);
    visit("device", self.device);
    visit("inode", self.inode);
  }
};
struct Inotify {
  std::vector<InotifyWatch> watches;  // ascending
  bool operator==(const Inotify&) const = default;
  static void fields(auto& self, auto& visit) { visit("watches", self.watches); }
};

// pidfd_open(2). Of a task that is not part of the tree, START_TIME tells it from a later one with its ID.
struct PidFile {
  std::int32_t pid = 0;          // 0: it had ended and been waited for
  std::uint64_t start_time = 0;  // field 22 of /proc/PID/stat
  bool operator==(const PidFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pid", self.pid);
    visit("start_time", self.start_time);
  }
};

// io_uring(7), of which nothing is in flight.
struct IoUring {
  std::uint64_t inode = 0;             // of its file, by which mappings name it
  std::optional<std::uint32_t> flags;  // IORING_SETUP_ of io_uring_setup(2); none: this kernel does not tell
  std::uint32_t sq_entries = 0, cq_entries = 0;
  // What the kernel has counted of its own, modulo 2^32: requests taken, completions given.
  std::uint32_t sq_head = 0, cq_tail = 0;
  std::vector<std::uint32_t> places;  // of what lies in `rings`: NewRing of os/io_uring.h
  Bytes rings, entries;               // the memory that it shares with the program; whole pages
  bool operator==(const IoUring&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("inode", self.inode);
    visit("flags", self.flags);
    visit("sq_entries", self.sq_entries);
    visit("cq_entries", self.cq_entries);
    visit("sq_head", self.sq_head);
    visit("cq_tail", self.cq_tail);
    visit("places", self.places);
    visit("rings", self.rings);
    visit("entries", self.entries);
  }
};

// As /proc/locks names them: locks of flock(2), record locks of fcntl(2), and those that belong to an open file
// description. Others (leases) are not rebuilt.
enum class LockKind : std::uint8_t { other, flock, posix, ofd, lease, delegation };
inline constexpr std::array<std::string_view, 6> kLockKindNames = {"other",  "FLOCK", "POSIX",
                                                                   "OFDLCK", "LEASE", "DELEG"};
constexpr const auto& names_of(LockKind) { return kLockKindNames; }
struct FileLock {
  LockKind kind = LockKind::other;
  bool exclusive = false;
  std::uint64_t start = 0, length = 0;  // 0: to the end of the file
  bool operator==(const FileLock&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("kind", self.kind);
    visit("exclusive", self.exclusive);
    visit("start", self.start);
    visit("length", self.length);
  }
};
// "POSIX" ones belong to a process; the descriptor is one that leads to the file.
struct RecordLock {
  std::int32_t fd = 0;
  FileLock lock;
  bool operator==(const RecordLock&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("fd", self.fd);
    visit("lock", self.lock);
  }
};

// Open at a path: regular files, folders, devices, named pipes. Also what is known of a kept file.
struct PathFile {
  std::string path;
  std::uint64_t device = 0, inode = 0;
  std::uint32_t mode = 0;           // st_mode
  std::uint64_t device_number = 0;  // st_rdev of device files
  std::string trigger;              // of a pressure file: what was written into it
  bool host = false;  // the path leads there in our mount namespace only, not in that of the process
  bool operator==(const PathFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("path", self.path);
    visit("device", self.device);
    visit("inode", self.inode);
    visit("mode", self.mode);
    visit("device_number", self.device_number);
    visit("trigger", self.trigger);
    visit("host", self.host);
  }
};

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

struct Descriptor {
  std::int32_t fd = 0;
  bool close_on_exec = false;
  std::uint32_t file = 0;  // index into Snapshot::files
  bool operator==(const Descriptor&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("fd", self.fd);
    visit("close_on_exec", self.close_on_exec);
    visit("file", self.file);
  }
};

}  // namespace upkeep::engine
