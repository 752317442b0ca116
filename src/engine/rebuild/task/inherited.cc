#include "engine/rebuild/task/inherited.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

// Asked with an ID that nobody can have, these change nothing and return what is (setfsuid(2)).
constexpr std::uint32_t kNobody = ~0U;

Result<void> read_capabilities(Credentials& own) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets = {};
  if (::syscall(SYS_capget, &header, sets.data()) < 0) return ErrnoErr("capget");
  const auto both = [&](std::uint32_t __user_cap_data_struct::*set) {
    return std::uint64_t{sets[0].*set} | std::uint64_t{sets[1].*set} << 32U;
  };
  own.effective = both(&__user_cap_data_struct::effective);
  own.permitted = both(&__user_cap_data_struct::permitted);
  own.inheritable = both(&__user_cap_data_struct::inheritable);
  for (int capability = 0; capability <= highest_capability(); ++capability) {
    const std::uint64_t bit = 1ULL << static_cast<unsigned>(capability);
    if (::prctl(PR_CAPBSET_READ, capability) == 1) own.bounding |= bit;
    const bool can_be_ambient = (own.inheritable & bit) != 0;
    if (can_be_ambient && ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 1)
      own.ambient |= bit;
  }
  return {};
}

Result<Credentials> own_credentials() {
  Credentials own;
  if (::getresuid(&own.uid, &own.euid, &own.suid) < 0 || ::getresgid(&own.gid, &own.egid, &own.sgid) < 0)
    return ErrnoErr("own user and group");
  own.fsuid = static_cast<std::uint32_t>(::setfsuid(kNobody));
  own.fsgid = static_cast<std::uint32_t>(::setfsgid(kNobody));
  const int count = ::getgroups(0, nullptr);
  own.groups.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
  if (count < 0 || ::getgroups(count, own.groups.data()) != count) return ErrnoErr("getgroups");
  TRY(read_capabilities(own));
  own.securebits = static_cast<std::uint32_t>(::prctl(PR_GET_SECUREBITS));
  own.no_new_privs = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  return own;
}

Result<Scheduling> own_scheduling() {
  Scheduling own;
  os::SchedulingAttributes attributes = {};
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) < 0)
    return ErrnoErr("sched_getattr");
  own.policy = attributes.policy, own.flags = attributes.flags;
  own.nice = attributes.nice, own.priority = attributes.priority;
  std::array<std::uint8_t, 1024> mask = {};
  const long size = ::syscall(SYS_sched_getaffinity, 0, mask.size(), mask.data());
  if (size < 0) return ErrnoErr("sched_getaffinity");
  own.affinity.data.assign(mask.begin(), mask.begin() + size);
  own.timer_slack = static_cast<std::uint64_t>(::prctl(PR_GET_TIMERSLACK));
  return own;
}

}  // namespace

Result<Inherited> what_is_inherited() {
  Inherited inherited;
  TRY_ASSIGN(inherited.credentials, own_credentials());
  TRY_ASSIGN(inherited.scheduling, own_scheduling());
  return inherited;
}

int highest_capability() {
  static const int highest = [] {
    int number = 0;
    while (::prctl(PR_CAPBSET_READ, number + 1) >= 0) ++number;
    return number;
  }();
  return highest;
}

}  // namespace upkeep::engine
