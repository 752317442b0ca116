#include "engine/inspect/memory/address_space.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "engine/inspect/calls/proc_text.h"
#include "os/file.h"
#include "os/task_memory.h"

namespace upkeep::engine {
namespace {

// Why a VmFlag (proc_pid_smaps(5)) stands in the way; empty where what it says is rebuilt, or is a property
// of the mapped object.
std::string why_not(std::string_view flag) {
  using namespace std::string_view_literals;
  static constexpr std::array kKnown = {"gd"sv, "lo"sv, "ht"sv, "sr"sv, "rr"sv, "dc"sv, "dd"sv,
                                        "nr"sv, "hg"sv, "nh"sv, "wf"sv, "mg"sv, "mw"sv, "lf"sv,
                                        "dp"sv, "de"sv, "mm"sv, "io"sv, "pf"sv, "gu"sv};
  if (std::ranges::find(kKnown, flag) != kKnown.end()) return "";
  if (flag == "ss"sv) return "shadow stacks are not rebuilt by this version";
  if (flag == "sl"sv) return "a sealed mapping cannot be made again before the task runs";
  if (flag == "um"sv || flag == "uw"sv || flag == "ui"sv) return "a userfaultfd is registered there";
  return fmt::format("it has the flag '{}', which this version does not know", flag);
}

std::string describe(const Mapping& mapping) {
  return fmt::format("mapping {:x}-{:x} {}", mapping.start, mapping.end, mapping.name);
}

void look_at_flags(pid_t pid, const Mapping& mapping, std::vector<Obstacle>& obstacles) {
  for (const auto& flag : mapping.flags) {
    auto why = why_not(flag);
    if (!why.empty()) obstacles.push_back({pid, describe(mapping), std::move(why), ""});
  }
}

// /dev/shm holds regular files, and a private mapping of /dev/zero is anonymous memory.
bool is_device(const std::string& path) {
  struct stat status = {};
  return path.starts_with("/dev/") && path != "/dev/zero" && ::stat(path.c_str(), &status) == 0 &&
         !S_ISREG(status.st_mode);
}

void look_at(pid_t pid, const Mapping& mapping, std::vector<Obstacle>& obstacles) {
  auto refuse = [&](std::string why) { obstacles.push_back({pid, describe(mapping), std::move(why), ""}); };
  if ((mapping.kind == MappingKind::vdso || mapping.kind == MappingKind::vsyscall) &&
      mapping.protection_key == 0)
    return;
  if (mapping.end > kHighestAddress) refuse("it lies above what four levels of page tables reach");
  if (mapping.kind == MappingKind::file && is_device(mapping.name))
    refuse("memory of devices cannot be carried");
  else if (mapping.has_flag("ht") && mapping.huge_page == 0)
    refuse("its pages are huge, and this kernel does not tell how large");
  else if (mapping.kind != MappingKind::file && mapping.kind != MappingKind::anonymous &&
           mapping.kind != MappingKind::io_uring && !mapping.of_kept_file())
    refuse("this kind of mapping is not understood");
  look_at_flags(pid, mapping, obstacles);
}

Result<std::uint64_t> vdso_checksum(pid_t pid, const std::vector<Mapping>& mappings) {
  const auto vdso =
      std::find_if(mappings.begin(), mappings.end(), [](const auto& m) { return m.name == "[vdso]"; });
  if (vdso == mappings.end()) return 0U;
  TRY_ASSIGN(const auto memory, os::TaskMemory::open(pid));
  std::string code(vdso->length(), '\0');
  TRY(memory.read(vdso->start, std::as_writable_bytes(std::span(code))));
  return checksum(code);
}

// Before it is stopped; the registers tell it for sure.
bool runs_32_bit_program(os::Fd directory) {
  const auto file = os::open_at(directory, "exe", O_RDONLY);
  std::array<unsigned char, EI_CLASS + 1> begin = {};
  return file && ::pread(file->get(), begin.data(), begin.size(), 0) == std::ssize(begin) &&
         begin[EI_CLASS] == ELFCLASS32;
}

}  // namespace

Result<void> read_address_space(pid_t pid, os::Fd directory, Look tasks, AddressSpace& space,
                                std::vector<Obstacle>& obstacles) {
  TRY_ASSIGN(space.executable, os::read_link_at(directory, "exe"));
  TRY_ASSIGN(const auto text, os::read_file_at(directory, stand_still(tasks) ? "smaps" : "maps"));
  if (stand_still(tasks)) {
    TRY_ASSIGN(space.mappings, parse_smaps(text));
  } else {
    TRY_ASSIGN(space.mappings, parse_maps(text));
  }
  for (const auto& mapping : space.mappings) look_at(pid, mapping, obstacles);
  if (!stand_still(tasks) && runs_32_bit_program(directory))
    obstacles.push_back(
        {pid, "program " + space.executable, "32-bit tasks are not rebuilt", "carry a 64-bit build of it"});
  TRY_ASSIGN(const auto auxv, os::read_record_at(directory, "auxv"));
  space.layout.auxv.data.assign(auxv.begin(), auxv.end());
  if (stand_still(tasks)) {
    TRY_ASSIGN(space.vdso_checksum, vdso_checksum(pid, space.mappings));
  }
  return {};
}

}  // namespace upkeep::engine
