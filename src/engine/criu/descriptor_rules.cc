#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "engine/criu/ruling.h"

namespace upkeep::engine::criu {
namespace {

constexpr off_t kGhostLimit = off_t{1} << 30;  // as given to criu, see rpc.cc
constexpr const char* kLeaveOut = "leave it out of --carry";

bool is_regular(const Descriptor& d) { return d.status && S_ISREG(d.status->st_mode); }

void judge_epoll(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling) {
  for (auto target : fdinfo_numbers(descriptor.info, "tfd")) {
    bool there = std::any_of(task.descriptors.begin(), task.descriptors.end(),
                             [&](const auto& other) { return other.number == target; });
    if (!there)
      ruling.refuse(name_of(task, descriptor),
                    fmt::format("its epoll still watches descriptor {}, which is closed", target), kLeaveOut);
  }
}

void judge_pidfd(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling) {
  for (auto pid : fdinfo_numbers(descriptor.info, "Pid")) {
    if (pid <= 0 || ruling.inside(static_cast<pid_t>(pid))) continue;
    ruling.refuse(name_of(task, descriptor),
                  fmt::format("it is a pidfd of process {}, which is not in its tree", pid), kLeaveOut);
  }
}

// Bits 2 and 3 are the classes that may hold up other programs' opens: FAN_CLASS_CONTENT,
// FAN_CLASS_PRE_CONTENT.
void judge_fanotify(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling) {
  auto at = descriptor.info.find("fanotify flags:");
  if (at == std::string::npos) return;
  unsigned flags = 0;
  const char* text = descriptor.info.data() + at + 15;
  std::from_chars(text, descriptor.info.data() + descriptor.info.size(), flags, 16);
  if ((flags & 0xcU) != 0)
    ruling.refuse(name_of(task, descriptor),
                  "it decides about other programs' opens (fanotify permission events)", kLeaveOut);
}

void judge_anonymous(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling) {
  // criu's list (dump_one_file of criu 4.1); names are written with and without brackets.
  constexpr std::array<std::string_view, 4> simple = {"eventfd", "signalfd", "timerfd", "inotify"};
  std::string_view kind = std::string_view(descriptor.link).substr(std::string_view("anon_inode:").size());
  if (kind.starts_with('[') && kind.ends_with(']')) kind = kind.substr(1, kind.size() - 2);
  if (std::find(simple.begin(), simple.end(), kind) != simple.end()) return;
  if (kind == "eventpoll") return judge_epoll(task, descriptor, ruling);
  if (kind == "fanotify") return judge_fanotify(task, descriptor, ruling);
  if (kind == "pidfd") return judge_pidfd(task, descriptor, ruling);
  if (kind == "io_uring") {
    return ruling.refuse(name_of(task, descriptor),
                         "it is an io_uring, whose requests in flight cannot be read back from the kernel",
                         "switch io_uring off in its configuration, or system-wide "
                         "(kernel.io_uring_disabled=2), and restart it");
  }
  ruling.refuse(name_of(task, descriptor), fmt::format("it is a '{}', which cannot be made again", kind),
                kLeaveOut);
}

void judge_device(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling) {
  const dev_t device = descriptor.status->st_rdev;
  constexpr std::array plain = {3U, 5U, 7U, 8U, 9U};  // null, zero, full, random, urandom
  if (major(device) == 1 && std::find(plain.begin(), plain.end(), minor(device)) != plain.end()) return;
  const bool terminal =
      major(device) == 4 || major(device) == 5 || (major(device) >= 136 && major(device) <= 143);
  if (terminal) return judge_terminal(name_of(task, descriptor), device, ruling);
  ruling.refuse(name_of(task, descriptor),
                fmt::format("it is the device {} ({}:{})", descriptor.link, major(device), minor(device)),
                kLeaveOut);
}

// "/proc/412/stat" -> 412; 0 for other paths.
pid_t process_in_path(const std::string& link) {
  pid_t pid = 0;
  if (link.starts_with("/proc/")) std::from_chars(link.data() + 6, link.data() + link.size(), pid);
  return pid;
}

void judge_path(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling) {
  if (pid_t pid = process_in_path(descriptor.link); pid != 0 && !ruling.inside(pid)) {
    return ruling.refuse(name_of(task, descriptor),
                         fmt::format("it is {}, of a process that is not in its tree", descriptor.link),
                         kLeaveOut);
  }
  const bool unlinked = is_regular(descriptor) && descriptor.status->st_nlink == 0;
  if (unlinked && descriptor.status->st_blocks * 512 > kGhostLimit &&
      !descriptor.link.starts_with("/memfd:")) {
    return ruling.refuse(
        name_of(task, descriptor),
        fmt::format("{} is unlinked and larger than {} MB", descriptor.link, kGhostLimit >> 20), kLeaveOut);
  }
  if (auto other = is_regular(descriptor) ? ruling.outsider_writing(descriptor.link) : ""; !other.empty()) {
    ruling.warn(
        name_of(task, descriptor),
        fmt::format("{} may write to {} as well, and is not in its tree: where the file grows after the "
                    "snapshot, criu does not open it again",
                    other, descriptor.link),
        "stop that program for the upgrade, or carry the tree that both are in");
  }
  if (descriptor.displaced) {
    ruling.refuse(name_of(task, descriptor),
                  fmt::format("{} is another file by now, or cannot be reached any more", descriptor.link),
                  "restart it, or have it open its files anew (log rotation: usually SIGHUP or SIGUSR1)");
  }
}

}  // namespace

void judge_terminal(const std::string& subject, dev_t device, Ruling& ruling) {
  constexpr const char* remedy = "start it with setsid, input and output from and to files";
  if (device == makedev(5, 2)) return;  // ptmx: a master; its slaves are looked at where they are open
  if (major(device) >= 136 && major(device) <= 143) {
    const unsigned index = minor(device) + (major(device) - 136) * 256;
    if (ruling.holds_terminal(index)) return;
    return ruling.refuse(
        subject, fmt::format("its terminal /dev/pts/{} belongs to a program that is not in its tree", index),
        remedy);
  }
  if (device == makedev(5, 0)) return;  // /dev/tty: the controlling terminal, which is judged for itself
  ruling.refuse(subject,
                fmt::format("it uses a terminal of the machine ({}:{})", major(device), minor(device)),
                remedy);
}

void judge_descriptor(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling) {
  const std::string& link = descriptor.link;
  if (link.starts_with("socket:[")) return judge_socket(task, descriptor, ruling);
  if (link.starts_with("anon_inode:")) return judge_anonymous(task, descriptor, ruling);
  if (link.starts_with("pidfd:[")) return judge_pidfd(task, descriptor, ruling);  // since Linux 6.9
  const bool fifo = descriptor.status && S_ISFIFO(descriptor.status->st_mode);
  if (link.starts_with("pipe:[") || fifo) {
    if (auto other = ruling.outsider_holding(link); !other.empty()) {
      ruling.refuse(name_of(task, descriptor),
                    fmt::format("it is a pipe that {} has open as well, which is not in its tree", other),
                    "start it with input and output from and to files, or carry the tree that both are in");
    }
    return;
  }
  if (descriptor.status && S_ISCHR(descriptor.status->st_mode)) return judge_device(task, descriptor, ruling);
  if (descriptor.status && S_ISBLK(descriptor.status->st_mode)) {
    return ruling.refuse(name_of(task, descriptor), fmt::format("it is the block device {}", link),
                         kLeaveOut);
  }
  if (link.starts_with('/')) judge_path(task, descriptor, ruling);
}

}  // namespace upkeep::engine::criu
