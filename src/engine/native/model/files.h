#pragma once
// Open file descriptions and the descriptors that lead to them.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/native/model/sockets.h"
#include "engine/native/model/terminal.h"
#include "engine/native/model/text.h"

namespace upkeep::native {

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

// One entry of an epoll set. Entries whose descriptor has been closed or replaced since cannot be made again.
struct EpollWatch {
  std::int32_t fd = 0;
  std::uint32_t events = 0;
  std::uint64_t data = 0;
  std::uint32_t file = 0;  // index into Snapshot::files
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
  std::int32_t pid = 0;  // the task whose descriptor numbers the watches have
  bool operator==(const Epoll&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("watches", self.watches);
    visit("pid", self.pid);
  }
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

// Open at a path: regular files, folders, devices, named pipes.
struct PathFile {
  std::string path;
  std::uint64_t device = 0, inode = 0;
  std::uint32_t mode = 0;           // st_mode
  std::uint64_t device_number = 0;  // st_rdev of device files
  bool operator==(const PathFile&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("path", self.path);
    visit("device", self.device);
    visit("inode", self.inode);
    visit("mode", self.mode);
    visit("device_number", self.device_number);
  }
};

// One open file description (open(2)), whoever shares it.
struct OpenFile {
  // "path", "pipe", "eventfd", "epoll", "timerfd", "signalfd", "socket", "terminal"; anything else is what
  // /proc/PID/fd shows and cannot be rebuilt.
  std::string kind;
  std::string name;         // the link of /proc/PID/fd, for people
  std::uint32_t flags = 0;  // F_GETFL
  std::int64_t position = 0;
  std::optional<PathFile> path;
  std::optional<Pipe> pipe;
  std::optional<EventCounter> eventfd;
  std::optional<Epoll> epoll;
  std::optional<TimerFile> timerfd;
  std::optional<SignalFile> signalfd;
  std::optional<Socket> socket;
  std::optional<TerminalEnd> terminal;
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
    visit("socket", self.socket);
    visit("terminal", self.terminal);
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

}  // namespace upkeep::native
