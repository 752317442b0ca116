#include "engine/rebuild/obstacles.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <elf.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "engine/rebuild/files/made_anew.h"
#include "os/file.h"
#include "os/procfs.h"
#include "os/protection_keys.h"
#include "os/vdso.h"

namespace upkeep::engine {
namespace {

// One that has just ended may be there until its parent has heard of it.
bool has_ended(pid_t pid) {
  const auto stat = os::read_stat(pid);
  return !stat || stat->state == 'Z' || stat->state == 'X';
}

void wait_a_moment() {
  const timespec pause = {0, 1'000'000};
  ::nanosleep(&pause, nullptr);
}

// Whoever lives in a process group or session that ID belongs to, though its leader has ended.
struct Member {
  pid_t pid;
  const char* kind;
};
std::optional<Member> member_of(std::int32_t id) {
  for (const pid_t pid : os::list_processes().value_or(std::vector<pid_t>())) {
    const bool of_session = ::getsid(pid) == id;
    if ((of_session || ::getpgid(pid) == id) && !has_ended(pid))
      return Member{pid, of_session ? "session" : "process group"};
  }
  return {};
}

// Also of a task that nobody can see any more, for the kernel lets go of the ID later than of the task: no
// clone3(2) gets it until then. The owner of a file's signals (F_SETOWN of fcntl(2)) has to be somebody's ID,
// and is not looked at further.
bool is_taken(std::int32_t id, int any_file) {
  return ::fcntl(any_file, F_SETOWN, id) == 0 || errno != ESRCH;
}

constexpr int kTries = 1000;

Result<void> id_is_free(std::int32_t id, int any_file) {
  for (int tries = 0; is_taken(id, any_file); ++tries) {
    if (::kill(id, 0) == 0 && !has_ended(id))
      return Err("the ID {} is taken by '{}'", id, os::command_line(id));
    if (const auto member = member_of(id)) {
      return Err("the ID {} is taken by a {} that process {} ('{}') is in: end that process", id,
                 member->kind, member->pid, os::command_line(member->pid));
    }
    if (tries == kTries) return Err("the ID {} is taken by a zombie: its parent has not waited for it", id);
    wait_a_moment();
  }
  return {};
}

Result<void> ids_are_possible(std::int32_t highest) {
  if (::getpid() > highest) return {};  // ours was possible
  TRY_ASSIGN(const auto limit, os::read_record("/proc/sys/kernel/pid_max"));
  if (std::atoi(limit.c_str()) > highest) return {};
  return Err("the ID {} is too high here: raise kernel.pid_max (sysctl(8)) above it", highest);
}

Result<void> ids_are_free(const std::set<std::int32_t>& ids) {
  TRY(ids_are_possible(*ids.rbegin()));
  TRY_ASSIGN(const auto any_file, os::open_file("/dev/null", O_RDONLY));
  for (const auto id : ids) TRY(id_is_free(id, any_file.get()));
  return {};
}

// Our own, which every new process gets too.
Result<std::uint64_t> own_vdso_checksum() {
  TRY_ASSIGN(const auto vdso, os::own_vdso());
  if (!vdso) return 0U;
  const auto image = vdso->image();
  return checksum({reinterpret_cast<const char*>(image.data()), image.size()});
}

// glibc registers as many bytes as the kernel that it was started under knows; before 6.3 kernels take 32 and
// nothing else. Those that take more say how many they fill in.
Result<void> takes_restartable_sequence(const Thread& thread) {
  constexpr std::uint32_t kFirstSize = 32;
  constexpr unsigned long kFeatureSize = 27;  // AT_RSEQ_FEATURE_SIZE of linux/auxvec.h
  const auto size = thread.stopped ? thread.stopped->rseq.size : 0;
  if (size == 0 || size == kFirstSize || ::getauxval(kFeatureSize) != 0) return {};
  return Err(
      "thread {}: its restartable sequences are of {} bytes, of which this kernel takes no more than {} "
      "(rseq(2))",
      thread.tid, size, kFirstSize);
}

Result<void> has_its_keys(const AddressSpace& memory) {
  const bool uses_them =
      memory.protection_keys > 1 ||
      std::ranges::any_of(memory.mappings, [](const auto& m) { return m.protection_key != 0; });
  if (!uses_them || os::has_protection_keys()) return {};
  return Err("its memory has protection keys (pkeys(7)), which this kernel or its processor does not have");
}

Result<void> mapped_file_is_there(const Mapping& mapping, std::set<std::string>& seen) {
  if (mapping.kind != MappingKind::file || !seen.insert(mapping.name).second) return {};
  struct stat status = {};
  if (::stat(mapping.name.c_str(), &status) < 0) return ErrnoErr("mapped file {}", mapping.name);
  if (status.st_ino != mapping.inode && !made_anew(mapping.device, status.st_dev))
    return Err("mapped file {}: it is another file than the one that was mapped", mapping.name);
  return {};
}

}  // namespace

Result<void> look_for_obstacles(const Snapshot& snapshot, const std::set<std::int32_t>& ids,
                                const AllNamespaces& namespaces) {
  TRY(ids_are_free(ids));
  TRY_ASSIGN(const auto vdso, own_vdso_checksum());
  std::map<std::optional<std::uint32_t>, std::set<std::string>> files;  // by namespaces
  for (const auto& process : snapshot.processes) {
    if (process.exit_status) continue;
    for (const auto& thread : process.threads)
      TRY_IN(fmt::format("process {}", process.pid), takes_restartable_sequence(thread));
    if (process.memory.vdso_checksum != 0 && process.memory.vdso_checksum != vdso)
      return Err("process {}: its vdso is not this kernel's", process.pid);
    TRY_IN(fmt::format("process {}", process.pid), has_its_keys(process.memory));
    auto look = [&]() -> Result<void> {
      for (const auto& mapping : process.memory.mappings)
        TRY(mapped_file_is_there(mapping, files[process.namespaces]));
      return {};
    };
    TRY_IN(fmt::format("process {}", process.pid),
           os::in_namespace(mounts_of(process, namespaces), "mnt", look));
  }
  return {};
}

}  // namespace upkeep::engine
