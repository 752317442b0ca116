#include "engine/rebuild/calls/program.h"

#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace upkeep::engine {
namespace {

struct Name {
  long number;
  const char* name;
};
// Those that programs are made of.
constexpr Name kNames[] = {
    {SYS_add_key, "add_key"},
    {SYS_arch_prctl, "arch_prctl"},
    {SYS_capset, "capset"},
    {SYS_chdir, "chdir"},
    {SYS_chroot, "chroot"},
    {SYS_clone3, "clone3"},
    {SYS_close, "close"},
    {SYS_close_range, "close_range"},
    {SYS_dup3, "dup3"},
    {SYS_epoll_ctl, "epoll_ctl"},
    {SYS_exit, "exit"},
    {SYS_exit_group, "exit_group"},
    {SYS_fcntl, "fcntl"},
    {SYS_ioctl, "ioctl"},
    {SYS_ioprio_set, "ioprio_set"},
    {SYS_keyctl, "keyctl"},
    {SYS_kill, "kill"},
    {SYS_madvise, "madvise"},
    {SYS_mlock2, "mlock2"},
    {SYS_mmap, "mmap"},
    {SYS_mprotect, "mprotect"},
    {SYS_munmap, "munmap"},
    {SYS_open, "open"},
    {SYS_personality, "personality"},
    {SYS_pidfd_getfd, "pidfd_getfd"},
    {SYS_pidfd_open, "pidfd_open"},
    {SYS_prctl, "prctl"},
    {SYS_pkey_alloc, "pkey_alloc"},
    {SYS_pkey_free, "pkey_free"},
    {SYS_pkey_mprotect, "pkey_mprotect"},
    {SYS_preadv, "preadv"},
    {SYS_prlimit64, "prlimit64"},
    {SYS_process_vm_writev, "process_vm_writev"},
    {SYS_rseq, "rseq"},
    {SYS_rt_sigaction, "rt_sigaction"},
    {SYS_rt_sigqueueinfo, "rt_sigqueueinfo"},
    {SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo"},
    {SYS_sched_setaffinity, "sched_setaffinity"},
    {SYS_sched_setattr, "sched_setattr"},
    {SYS_seccomp, "seccomp"},
    {SYS_set_robust_list, "set_robust_list"},
    {SYS_set_tid_address, "set_tid_address"},
    {SYS_setfsgid, "setfsgid"},
    {SYS_setfsuid, "setfsuid"},
    {SYS_setgroups, "setgroups"},
    {SYS_setitimer, "setitimer"},
    {SYS_setns, "setns"},
    {SYS_setpgid, "setpgid"},
    {SYS_setresgid, "setresgid"},
    {SYS_setresuid, "setresuid"},
    {SYS_setsid, "setsid"},
    {SYS_sigaltstack, "sigaltstack"},
    {SYS_timer_create, "timer_create"},
    {SYS_timer_delete, "timer_delete"},
    {SYS_timer_settime, "timer_settime"},
    {SYS_umask, "umask"},
    {SYS_unshare, "unshare"},
    {SYS_wait4, "wait4"},
    {SYS_waitid, "waitid"},
    {SYS_write, "write"},
};

std::string name_of(long number) {
  const auto* found =
      std::find_if(std::begin(kNames), std::end(kNames), [&](const Name& n) { return n.number == number; });
  return found == std::end(kNames) ? fmt::format("syscall {}", number) : found->name;
}

// Small numbers as people write them, addresses in hexadecimal.
std::string text_of(const Argument& argument) {
  if (argument.in_data()) return fmt::format("data+{}", argument.value());
  const auto number = static_cast<std::int64_t>(argument.value());
  if (number > -4096 && number < 65536) return std::to_string(number);
  return fmt::format("{:#x}", argument.value());
}

}  // namespace

Place Program::bytes(std::span<const std::byte> bytes) {
  const Place place{data_.size()};
  data_.insert(data_.end(), bytes.begin(), bytes.end());
  data_.resize((data_.size() + 15) / 16 * 16);
  return place;
}

Place Program::text(std::string_view text) {
  std::string with_end(text);
  with_end.push_back('\0');
  return bytes(std::as_bytes(std::span(with_end)));
}

Place Program::room(std::size_t length) { return bytes(std::vector<std::byte>(length)); }

void Program::append(const Program& other) {
  const std::uint64_t base = data_.size();  // aligned, as every piece of data is
  for (auto call : other.calls_) {
    for (auto& argument : call.arguments.all()) {
      if (argument.in_data()) argument = Place{argument.value() + base};
    }
    calls_.push_back(call);
  }
  data_.insert(data_.end(), other.data_.begin(), other.data_.end());
  for (const auto& pointer : other.pointers_) pointers_.push_back({pointer.at + base, pointer.target + base});
}

std::vector<std::byte> Program::placed(std::uint64_t address) const {
  std::vector<std::byte> result(size());
  const std::uint64_t data = address + calls_.size() * sizeof(PlacedCall);
  auto* at = result.data();
  for (const auto& call : calls_) {
    PlacedCall placed;
    placed.number = static_cast<std::uint64_t>(call.number);
    placed.may_fail = call.may_fail ? 1 : 0;
    std::ranges::transform(call.arguments.all(), placed.arguments.begin(), [data](const Argument& argument) {
      return argument.value() + (argument.in_data() ? data : 0);
    });
    std::memcpy(at, &placed, sizeof placed);
    at += sizeof placed;
  }
  std::copy(data_.begin(), data_.end(), at);
  for (const auto& pointer : pointers_) {
    const std::uint64_t target = data + pointer.target;
    std::memcpy(at + pointer.at, &target, sizeof target);
  }
  return result;
}

std::string Program::describe(std::size_t index) const {
  const auto& call = calls_.at(index);
  std::string text = name_of(call.number) + "(";
  const char* between = "";
  for (const auto& argument : call.arguments.all()) {
    text += between + text_of(argument);
    between = ", ";
  }
  return text + ")";
}

std::string Program::describe() const {
  std::string text;
  for (std::size_t i = 0; i < calls_.size(); ++i)
    text += describe(i) + (calls_[i].may_fail ? " may fail\n" : "\n");
  return text;
}

}  // namespace upkeep::engine
