#include "engine/native/rebuild/in_the_way.h"

#include "engine/native/rebuild/made_anew.h"

#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>

#include <elf.h>

#include <set>

#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::native {
namespace {

// One that has just ended may be there until its parent has heard of it.
bool is_zombie(std::int32_t id) {
  auto stat = os::read_stat(id);
  return stat && (stat->state == 'Z' || stat->state == 'X');
}

Result<void> id_is_free(std::int32_t id) {
  constexpr int kTries = 1000;
  timespec pause = {0, 1'000'000};
  for (int tries = 0; ::kill(id, 0) == 0 || errno != ESRCH; ++tries) {
    if (!is_zombie(id)) return Err("the ID {} is taken by '{}'", id, os::command_line(id));
    if (tries == kTries) return Err("the ID {} is taken by a zombie: its parent has not waited for it", id);
    ::nanosleep(&pause, nullptr);
  }
  return {};
}

// Our own, which every new process gets too.
Result<std::uint64_t> own_vdso_checksum() {
  TRY_ASSIGN(const auto maps, os::read_file("/proc/self/maps"));
  const auto name = maps.find("[vdso]");
  if (name == std::string::npos) return 0U;
  const auto line = maps.rfind('\n', name) + 1;
  std::uint64_t start = 0, end = 0;
  if (std::sscanf(maps.c_str() + line, "%lx-%lx", &start, &end) != 2)
    return Err("/proc/self/maps cannot be read");
  return checksum({reinterpret_cast<const char*>(start), end - start});
}

Result<void> mapped_file_is_there(const Mapping& mapping, std::set<std::string>& seen) {
  if (mapping.kind != "file" || !seen.insert(mapping.name).second) return {};
  struct stat status = {};
  if (::stat(mapping.name.c_str(), &status) < 0) return ErrnoErr("mapped file {}", mapping.name);
  if (status.st_ino != mapping.inode && !made_anew(mapping.device, status.st_dev))
    return Err("mapped file {}: it is another file than the one that was mapped", mapping.name);
  return {};
}

}  // namespace

Result<void> look_for_what_is_in_the_way(const Snapshot& snapshot) {
  for (const auto& obstacle : snapshot.obstacles)
    return Err("process {}, {}: {}", obstacle.pid, obstacle.what, obstacle.why);
  TRY_ASSIGN(const auto vdso, own_vdso_checksum());
  std::set<std::string> files;
  for (const auto& process : snapshot.processes) {
    TRY(id_is_free(process.pid));
    if (process.exit_status) continue;
    bool complete = process.stopped.has_value();
    for (const auto& thread : process.threads) {
      TRY(id_is_free(thread.tid));
      complete = complete && thread.stopped;
    }
    if (!complete) return Err("process {}: it was not stopped when it was read", process.pid);
    if (process.memory.vdso_checksum != 0 && process.memory.vdso_checksum != vdso)
      return Err("process {}: its vdso is another kernel's ({}), which this version cannot rebuild",
                 process.pid, snapshot.kernel);
    for (const auto& mapping : process.memory.mappings) {
      TRY_IN(fmt::format("process {}", process.pid), mapped_file_is_there(mapping, files));
      if (mapping.kind != "anonymous" && mapping.kind != "file" && !mapping.of_kept_file() &&
          mapping.kind != "vdso" && mapping.kind != "vsyscall")
        return Err("process {}: a mapping of the kind '{}'", process.pid, mapping.kind);
    }
  }
  return {};
}

}  // namespace upkeep::native
