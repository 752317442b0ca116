#include "engine/verify/compare.h"

#include <linux/if_packet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "os/restart_codes.h"
#include "os/tcp_repair.h"

namespace upkeep::engine {
namespace {

using nlohmann::json;

// Numbers that stand for objects: the first one that appears becomes 1, and so on.
class Renumbered {
 public:
  std::uint64_t operator()(std::uint64_t number) {
    return numbers_.emplace(number, numbers_.size() + 1).first->second;
  }

 private:
  std::map<std::uint64_t, std::uint64_t> numbers_;
};

class RenumberedFiles {
 public:
  std::uint64_t operator()(std::uint64_t device, std::uint64_t inode) {
    return numbers_.emplace(std::pair(device, inode), numbers_.size() + 1).first->second;
  }
  // What stands for a kept file; 0: none does. Its name is one that it does not have any more.
  void forget(std::string& name, std::uint64_t& device, std::uint64_t& inode) {
    if (inode == 0) return;
    inode = (*this)(device, inode);
    device = 0;
    name.clear();
  }

 private:
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> numbers_;
};

// Files of a tmpfs may have been put back since.
void forget_volatile_inode(std::uint64_t& device, std::uint64_t& inode) {
  if (major(device) == 0) inode = 0;
  device = 0;
}

void forget_identity(Mapping& mapping, RenumberedFiles& kept) {
  // Known to the kernel, or shown by it, only from some version on; or a matter of taste.
  std::erase_if(mapping.flags, [](const auto& flag) { return flag == "dp" || flag == "gu" || flag == "lf"; });
  if (mapping.kind == MappingKind::unlinked || mapping.kind == MappingKind::memfd ||
      mapping.kind == MappingKind::shared_memory)
    kept.forget(mapping.name, mapping.device, mapping.inode);
  else if (mapping.kind == MappingKind::segment)
    mapping.device = 0;
  else
    forget_volatile_inode(mapping.device, mapping.inode);
}

// What it takes least to find out, of what has to be the same.
bool may_continue(const Mapping& last, const Mapping& next) {
  return last.end == next.start && last.protection() == next.protection() && last.inode == next.inode &&
         last.shared == next.shared;
}

// The kernel merges neighbours that are alike, which depends on how they came about.
void merge_mappings(AddressSpace& memory) {
  std::vector<Mapping> merged;
  merged.reserve(memory.mappings.size());
  for (auto& mapping : memory.mappings) {
    if (!merged.empty() && may_continue(merged.back(), mapping)) {
      auto& last = merged.back();
      const bool anonymous = last.kind == MappingKind::anonymous;
      const bool same_object = anonymous || last.offset + last.length() == mapping.offset;
      auto continued = mapping;
      continued.start = last.start, continued.end = last.end, continued.offset = last.offset;
      if (anonymous) continued.name = last.name;
      if (same_object && continued == last) {
        last.end = mapping.end;
        continue;
      }
    }
    merged.push_back(std::move(mapping));
  }
  memory.mappings = std::move(merged);
}

// Where one of the two kernels, or its processor, has no protection keys, that is none of the tasks' doing.
void forget_keys(AddressSpace& memory, const AddressSpace& other) {
  if (memory.protection_keys != 0 && other.protection_keys != 0) return;
  memory.protection_keys = 0;
  for (auto& mapping : memory.mappings) mapping.protection_key = 0;
}

// Timers run while the tasks stand: they may have sent their signals meanwhile.
bool sent_by_timer(const Bytes& info) {
  std::array<std::int32_t, 3> head = {};  // si_signo, si_errno, si_code
  if (info.data.size() < sizeof head) return false;
  std::memcpy(head.data(), info.data.data(), sizeof head);
  return head[0] == SIGALRM || head[0] == SIGVTALRM || head[0] == SIGPROF || head[2] == SI_TIMER;
}

void forget_time(Process& process) {
  process.command.clear();
  for (auto& thread : process.threads) {
    if (thread.stopped) std::erase_if(thread.stopped->pending, sent_by_timer);
  }
  if (!process.stopped) return;
  std::erase_if(process.stopped->pending, sent_by_timer);
  for (auto& timer : process.stopped->interval_timers) timer.value = 0;
  for (auto& timer : process.stopped->posix_timers) timer.value = 0, timer.overrun = 0;
}

// The hardware may save a part of the extended registers that is in its initial state, or leave it out. What
// the kernel says about the area itself lies before XSTATE_BV.
void forget_initial_state(StoppedThread& thread) {
  constexpr std::size_t kInUse = 464, kLegacyEnd = 576;  // sw_reserved, XSTATE_BV; what is behind the header
  auto& bytes = thread.registers.xstate.data;
  if (bytes.size() < kLegacyEnd) return;
  std::fill(bytes.begin() + kInUse, bytes.begin() + kLegacyEnd, std::uint8_t{0});
}

// A sleep whose time was over when it was taken up again is made anew instead of gone on with
// (rebuild/finish.cc).
void forget_ended_sleep(StoppedThread& thread) {
  constexpr std::size_t kRax = 10, kOrigRax = 15;  // in user_regs_struct
  constexpr std::uint64_t kSleeps[] = {SYS_nanosleep, SYS_clock_nanosleep, SYS_futex, SYS_poll};
  auto& general = thread.registers.general;
  if (static_cast<long>(general[kRax]) == os::kRestartNoHand &&
      std::ranges::find(kSleeps, general[kOrigRax]) != std::end(kSleeps))
    general[kRax] = static_cast<std::uint64_t>(os::kRestartBlock);
}

// What one kernel tells for a task that has not set anything, and another one does not.
void forget_defaults(Scheduling& scheduling) {
  constexpr int kClassShift = 13;                                              // linux/ioprio.h
  if (scheduling.io_priority >> kClassShift == 0) scheduling.io_priority = 0;  // IOPRIO_CLASS_NONE
  // Real-time tasks have no slack; from 6.14 on the kernel says so.
  constexpr std::uint32_t kFifo = 1, kRoundRobin = 2, kDeadline = 6;
  if (scheduling.policy == kFifo || scheduling.policy == kRoundRobin || scheduling.policy == kDeadline)
    scheduling.timer_slack = 0;
}

// Flags that say what kind of object is mapped: how its file system, or its driver, lets it be mapped.
void forget_flags_of_the_object(Mapping& mapping) {
  constexpr std::array kOfTheObject = {"de", "mm", "io", "pf"};
  std::erase_if(mapping.flags, [&](const std::string& flag) {
    return std::ranges::find(kOfTheObject, flag) != kOfTheObject.end();
  });
  // In 6.12 it may be made executable, in 7.3 no more.
  if (mapping.kind == MappingKind::io_uring) std::erase(mapping.flags, "me");
}

// PR_SET_MEMORY_MERGE: all that the kernel can merge, which in 7.3 is more than in 6.12.
void forget_what_is_merged(AddressSpace& memory) {
  for (auto& mapping : memory.mappings) std::erase(mapping.flags, "mg");
}

// The kernel tunes the sizes of those buffers that nobody has set.
unsigned locked_buffers(const Socket& socket) {
  unsigned locked = 0;
  for (const auto& option : socket.options) {
    if (option.level == SOL_SOCKET && option.name == SO_BUF_LOCK && option.value.data.size() == sizeof locked)
      std::memcpy(&locked, option.value.data.data(), sizeof locked);
  }
  return locked;
}

// A FIN is not received anew, and one that was sent is sent once more (rebuild/connections.cc).
std::uint32_t state_in_repair(std::uint32_t state) {
  switch (state) {
    case os::kTcpCloseWait:
      return os::kTcpEstablished;
    case os::kTcpFinWait2:
    case os::kTcpLastAck:
    case os::kTcpClosing:
      return os::kTcpFinWait1;
    default:
      return state;
  }
}

// Its timestamps go on, its timers too; repair mode overwrites an option; binding an IPv6 socket to one
// address, as connecting does not, sets IPV6_V6ONLY, which means nothing for a connection.
void forget_repair_mode(Socket& socket) {
  auto& connection = *socket.connection;
  connection.state = state_in_repair(connection.state);
  if (connection.timestamp) connection.timestamp = 0;
  // What nobody acknowledges is sent anew after 3 s (TCP_TIMEOUT_FALLBACK), before it is looked at where
  // there is much to make: lost, for the network is closed, but the kernel has said then what it has room
  // for.
  connection.window.rcv_wnd = connection.window.rcv_wup = 0;
  connection.unsent = 0;
  constexpr unsigned kSendBuffer = 1, kReceiveBuffer = 2;  // SOCK_SNDBUF_LOCK, SOCK_RCVBUF_LOCK
  const unsigned locked = locked_buffers(socket);
  std::erase_if(socket.options, [locked](const auto& option) {
    if (option.level == IPPROTO_IPV6 && option.name == IPV6_V6ONLY) return true;
    if (option.level != SOL_SOCKET) return false;
    return option.name == SO_REUSEADDR || (option.name == SO_SNDBUF && (locked & kSendBuffer) == 0) ||
           (option.name == SO_RCVBUF && (locked & kReceiveBuffer) == 0);
  });
}

// An empty keyring without a name is as good as none: the program cannot have put anything into the one that
// it shares with its user, or it would be there.
void forget_serials(Snapshot& snapshot) {
  std::vector<Keyring> kept;
  std::map<std::uint32_t, std::uint32_t> places;
  for (std::uint32_t i = 0; i < snapshot.keyrings.size(); ++i) {
    auto& keyring = snapshot.keyrings[i];
    if (keyring.name == "_ses" && keyring.keys.empty()) continue;
    places[i] = static_cast<std::uint32_t>(kept.size());
    keyring.serial = 0;
    kept.push_back(std::move(keyring));
  }
  snapshot.keyrings = std::move(kept);
  for (auto& process : snapshot.processes) {
    if (!process.stopped || !process.stopped->keyring) continue;
    const auto place = places.find(*process.stopped->keyring);
    process.stopped->keyring = place == places.end() ? std::nullopt : std::optional(place->second);
  }
}

// The numbers of mounts, their peer groups and file systems are others; times of folders change with what is
// mounted in them.
void forget_mount_numbers(Namespaces& namespaces) {
  std::map<std::int32_t, std::string> places = {{0, ""}};
  for (const auto& mount : namespaces.mounts) places[mount.id] = mount.mount_point;
  std::sort(namespaces.mounts.begin(), namespaces.mounts.end(),
            [](const Mount& a, const Mount& b) { return a.mount_point < b.mount_point; });
  for (auto& mount : namespaces.mounts) {
    mount.source += " on " + places[mount.parent];
    mount.id = mount.parent = 0;
    mount.major = mount.minor = 0;
    mount.shared = mount.shared != 0 ? 1 : 0;
    mount.master = mount.master != 0 ? 1 : 0;
    if (!mount.host_path.empty()) mount.contents.clear();
    // The host's file systems are as the host has them: systemd mounts /run anew, with other limits.
    if (!mount.host_path.empty() || mount.inherited) mount.super_options.clear();
    for (auto& node : mount.contents) {
      if (node.device_number == 0 && node.data.data.empty()) node.modified = 0;
    }
  }
}

void renumber(std::uint64_t& number, Renumbered& known) {
  if (number != 0 && number != kUnbornPidNamespace) number = known(number);
}

void renumber(NamespaceNumbers& numbers, Renumbered& known) {
  for (auto* number : {&numbers.user, &numbers.uts, &numbers.ipc, &numbers.mnt, &numbers.net, &numbers.cgroup,
                       &numbers.time, &numbers.time_for_children})
    renumber(*number, known);
}

// Sysctls that only one of two kernels knows are not compared.
void forget_unknown_sysctls(std::string& network, const std::string& other) {
  auto here = json::parse(network, nullptr, false);
  const auto there = json::parse(other, nullptr, false);
  if (!here.is_object() || !there.is_object() || !here.contains("sysctls") || !there.contains("sysctls"))
    return;
  auto& sysctls = here["sysctls"];
  for (auto one = sysctls.begin(); one != sysctls.end();)
    one = there["sysctls"].contains(one.key()) ? std::next(one) : sysctls.erase(one);
  network = here.dump();
}

// What the host has mounted or unmounted in between is no difference.
void forget_host_mounts(Snapshot& snapshot, const Snapshot& other) {
  for (std::size_t i = 0; i < snapshot.namespaces.size() && i < other.namespaces.size(); ++i) {
    std::erase_if(snapshot.namespaces[i].mounts, [&](const Mount& mount) {
      const auto& theirs = other.namespaces[i].mounts;
      return mount.inherited && std::none_of(theirs.begin(), theirs.end(), [&](const Mount& their) {
               return their.mount_point == mount.mount_point && their.fs_type == mount.fs_type;
             });
    });
  }
}

// What the thread has not switched off itself is a matter of kernel and processor.
void forget_speculation(ThreadSettings& settings) {
  for (auto* state : {&settings.store_bypass, &settings.indirect_branch, &settings.l1d_flush}) {
    if ((*state & PR_SPEC_PRCTL) == 0 || (*state & PR_SPEC_ENABLE) != 0) *state = 0;
  }
}

// Receivers of datagrams outside are found by their names, or are not there any more (rebuild/open_files.cc).
void forget_receivers_outside(Snapshot& snapshot) {
  const auto inside = snapshot.socket_inodes();
  for (auto& file : snapshot.files) {
    if (!file.socket || file.socket->type != SOCK_DGRAM || inside.contains(file.socket->peer)) continue;
    file.socket->peer = 0;
    if (file.socket->family == AF_UNIX) file.socket->remote.data.clear();
  }
}

// journald may not have got around to accepting the stream, nor to saying what it knows of it.
void forget_what_journald_says(Socket& socket) {
  if (!leads_to_journald(socket)) return;
  socket.journal.reset();
  socket.peer = 0;
  socket.shutdown = 0;  // it shuts the other direction down
  socket.connecting = false;
}

// They are numbered otherwise here; what has the name is the same.
void forget_interface_numbers(Socket& socket) {
  for (auto& option : socket.options) {
    if (!option.interface.empty()) option.value.data.clear();
  }
  const auto forget = [](Bytes& name, std::size_t at, std::size_t size) {
    if (name.data.size() >= at + size)
      std::fill_n(name.data.begin() + static_cast<std::ptrdiff_t>(at), size, 0);
  };
  for (auto* name : {&socket.local, &socket.remote}) {
    if (socket.family == AF_INET6)
      forget(*name, offsetof(sockaddr_in6, sin6_scope_id), sizeof(sockaddr_in6::sin6_scope_id));
    if (socket.family == AF_PACKET)
      forget(*name, offsetof(sockaddr_ll, sll_ifindex), sizeof(sockaddr_ll::sll_ifindex));
  }
}

// The PIDs of those who have ended may be somebody else's by now.
void forget_ended_peers(Socket& socket, const std::set<std::int32_t>& ids) {
  const auto forget = [&](std::int32_t& pid) {
    if (!ids.contains(pid)) pid = 0;
  };
  if (socket.peer_credentials) forget(socket.peer_credentials->pid);
  for (auto& message : socket.unread) {
    if (message.credentials) forget(message.credentials->pid);
  }
}

// Binding an IPv6 socket to one address, as connecting does not, sets IPV6_V6ONLY, which means nothing for
// it.
void forget_own_family(Socket& socket) {
  if (socket.type != SOCK_DGRAM || socket.remote.data.empty()) return;
  std::erase_if(socket.options, [](const auto& option) {
    return option.level == IPPROTO_IPV6 && option.name == IPV6_V6ONLY;
  });
}

// It asks for its connection when everything else is there (rebuild/connections.h).
void forget_question(Socket& socket) {
  if (!socket.connecting || socket.protocol != IPPROTO_TCP) return;
  socket.connecting = false;
  socket.remote.data.clear();
}

// Of those that nobody has open there are none again on the same boot.
void forget_unused_queues(Snapshot& snapshot) {
  std::erase_if(snapshot.posix_queues, [&](const PosixQueue& queue) {
    return std::ranges::none_of(snapshot.files, [&](const OpenFile& file) {
      return file.kind == FileKind::mqueue && file.path->device == queue.device &&
             file.path->inode == queue.inode;
    });
  });
  for (auto& queue : snapshot.posix_queues) {
    queue.device = queue.inode = 0;
    if (queue.removed) queue.name.clear();  // somebody else may have it now
  }
}

// A kernel need not tell them (inspect/kernel_ring.h).
void forget_untold_flags(Snapshot& snapshot, const Snapshot& other) {
  for (std::size_t i = 0; i < snapshot.files.size() && i < other.files.size(); ++i) {
    auto& ring = snapshot.files[i].io_uring;
    if (ring && other.files[i].io_uring && !other.files[i].io_uring->flags) ring->flags.reset();
  }
}

Snapshot comparable(Snapshot snapshot, const Snapshot& other) {
  forget_untold_flags(snapshot, other);
  forget_host_mounts(snapshot, other);
  Renumbered spaces;
  for (std::size_t i = 0; i < snapshot.namespaces.size() && i < other.namespaces.size(); ++i)
    forget_unknown_sysctls(snapshot.namespaces[i].network, other.namespaces[i].network);
  for (auto& namespaces : snapshot.namespaces) {
    forget_mount_numbers(namespaces);
    renumber(namespaces.numbers, spaces);
    for (auto& mount : namespaces.mounts) renumber(mount.pid_namespace, spaces);
  }
  forget_serials(snapshot);
  forget_receivers_outside(snapshot);
  Renumbered pipes, sockets, rings;
  RenumberedFiles kept;
  snapshot.clocks = {};
  snapshot.kernel.clear();
  snapshot.boot.clear();
  snapshot.obstacles.clear();
  snapshot.losses.clear();
  snapshot.semaphore_sets.clear();  // of the whole machine, which is not looked at again
  snapshot.message_queues.clear();
  forget_unused_queues(snapshot);
  std::set<std::int32_t> ids;
  for (const auto& process : snapshot.processes) {
    ids.insert(process.pid);
    for (const auto& thread : process.threads) ids.insert(thread.tid);
  }
  for (auto& process : snapshot.processes) {
    if (snapshot.find(process.ppid) == nullptr) process.ppid = 0;
    process.cgroup.clear();  // it is there, or not
    renumber(process.pid_namespace, spaces);
    renumber(process.pid_namespace_for_children, spaces);
    for (auto& mapping : process.memory.mappings) forget_flags_of_the_object(mapping);
    if (process.stopped && process.stopped->memory_merge) forget_what_is_merged(process.memory);
    if (const auto* same = other.find(process.pid)) forget_keys(process.memory, same->memory);
    kept.forget(process.memory.executable, process.memory.executable_device, process.memory.executable_inode);
    for (auto& mapping : process.memory.mappings) {
      const auto ring = mapping.kind == MappingKind::io_uring ? rings(mapping.inode) : 0;
      forget_identity(mapping, kept);
      if (ring != 0) mapping.inode = ring;
    }
    merge_mappings(process.memory);
    process.memory.pages.clear();
    process.memory.contents.clear();
    for (auto& mapping : process.memory.mappings) {
      if (mapping.kind == MappingKind::anonymous) mapping.name.clear(), mapping.offset = 0;
    }
    for (auto& thread : process.threads) {
      forget_defaults(thread.scheduling);
      if (thread.stopped) forget_initial_state(*thread.stopped);
      if (thread.stopped) forget_ended_sleep(*thread.stopped);
      if (thread.stopped) forget_speculation(thread.stopped->settings);
      if (thread.stopped) thread.stopped->time_left = 0;
    }
    forget_time(process);
  }
  for (auto& file : snapshot.kept_files) {
    file.inode = file.kind == KeptKind::segment ? file.inode : kept(file.device, file.inode);
    file.device = 0;
    if (file.kind == KeptKind::unlinked) file.name.clear();
    file.pages.clear();
  }
  for (auto& file : snapshot.files) {
    if (file.pipe) file.pipe->inode = pipes(file.pipe->inode);
    if (file.kind != FileKind::path) file.name.clear();
    if (file.socket) {
      file.socket->inode = sockets(file.socket->inode);
      renumber(file.socket->network, spaces);
      if (file.socket->connection) forget_repair_mode(*file.socket);
      forget_what_journald_says(*file.socket);
      forget_interface_numbers(*file.socket);
      forget_ended_peers(*file.socket, ids);
      forget_question(*file.socket);
      forget_own_family(*file.socket);
      for (auto& client : file.socket->waiting) client = sockets(client);
      if (file.socket->peer != 0) file.socket->peer = sockets(file.socket->peer);
    }
    if (file.kind == FileKind::mqueue) file.path->path.clear();  // its queue has a name, or has none any more
    if (file.io_uring) file.io_uring->inode = rings(file.io_uring->inode);
    if (file.kind == FileKind::kept) kept.forget(file.path->path, file.path->device, file.path->inode);
    if (file.path) forget_volatile_inode(file.path->device, file.path->inode);
    if (file.inotify) {
      for (auto& watch : file.inotify->watches) forget_volatile_inode(watch.device, watch.inode);
    }
    if (file.pidfd) {
      if (!ids.contains(file.pidfd->pid)) file.pidfd->pid = 0;  // it may have ended
      file.pidfd->start_time = 0;
    }
    if (file.timerfd) file.timerfd->value = 0;
    if (file.timerfd) file.timerfd->expirations = 0;
    if (file.epoll)
      std::sort(file.epoll->watches.begin(), file.epoll->watches.end(),
                [](const auto& a, const auto& b) { return std::tie(a.fd, a.file) < std::tie(b.fd, b.file); });
  }
  return snapshot;
}

// So that what differs can be said.
void unfold(json& text) {
  auto document = json::parse(text.is_string() ? text.get<std::string>() : "", nullptr, false);
  if (!document.is_discarded()) text = std::move(document);
}

std::string shortened(const std::string& text) {
  return text.size() > 120 ? text.substr(0, 120) + "..." : text;
}

}  // namespace

Result<void> compare(const Snapshot& wanted, Snapshot found) {
  const auto wanted_here = comparable(wanted, found), found_here = comparable(std::move(found), wanted);
  if (wanted_here == found_here) return {};
  auto a = to_json(wanted_here), b = to_json(found_here);
  for (auto* document : {&a, &b}) {
    for (auto& namespaces : (*document)["namespaces"]) unfold(namespaces["network"]);
  }
  const auto differences = json::diff(a, b);
  if (differences.empty()) return Err("what was made differs from what was saved");
  auto wanted_at = [&a](const std::string& path) {
    const json::json_pointer pointer(path);
    return a.contains(pointer) ? shortened(a.at(pointer).dump()) : std::string("nothing");
  };
  constexpr std::size_t kShown = 4;
  std::string shown;
  for (std::size_t i = 0; i < std::min(kShown, differences.size()); ++i) {
    const auto path = differences[i].at("path").get<std::string>();
    // At the end of a list there is none of this path yet.
    const auto is =
        differences[i].contains("value") ? shortened(differences[i].at("value").dump()) : "nothing";
    shown += fmt::format("{}{}: {} instead of {}", i == 0 ? "" : "; ", path, is, wanted_at(path));
  }
  return Err("what was made differs from what was saved at {} ({} differences)", shown, differences.size());
}

}  // namespace upkeep::engine
