#include "engine/kernel_crossing.h"

#include <cpuid.h>

#include <algorithm>
#include <cstring>

#include "engine/inspect/calls/proc_text.h"
#include "engine/rebuild/memory/vdso.h"
#include "engine/remaining_time.h"
#include "os/file.h"
#include "os/vdso.h"

namespace upkeep::engine {
namespace {

constexpr std::size_t kRip = 16;  // in user_regs_struct

// This kernel's vdso, as our own process has it.
struct CurrentVdso {
  std::vector<Mapping> mappings;  // of code and data
  std::uint64_t start = 0, code = 0, end = 0;
  std::vector<std::byte> image;
};

Result<CurrentVdso> current_vdso() {
  CurrentVdso current;
  TRY_ASSIGN(const auto own, os::own_vdso());
  if (!own) return current;
  current.start = own->start, current.code = own->code, current.end = own->end;
  current.image.assign(own->image().begin(), own->image().end());
  TRY_ASSIGN(const auto text, os::read_file("/proc/self/smaps"));
  TRY_ASSIGN(current.mappings, parse_smaps(text));
  std::erase_if(current.mappings, [](const auto& mapping) { return mapping.kind != MappingKind::vdso; });
  return current;
}

std::vector<std::uint64_t> where_threads_stand(const Process& process) {
  std::vector<std::uint64_t> places;
  for (const auto& thread : process.threads) {
    if (thread.stopped) places.push_back(thread.stopped->registers.general[kRip]);
  }
  return places;
}

// XCR0: the parts of the extended registers that this kernel saves.
std::uint64_t saved_features() {
  constexpr unsigned kOsXsave = 1U << 27U;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsXsave) == 0) return 3;
  asm volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return static_cast<std::uint64_t>(edx) << 32U | eax;
}

// The kernel takes areas of exactly the length that it gives (PTRACE_SETREGSET); where each part lies in it
// the processor says, not the kernel.
Result<void> fit_extended_registers(Process& process) {
  constexpr std::size_t kInUse = 512;  // XSTATE_BV
  unsigned length = 0, unused = 0;
  if (__get_cpuid_count(0xd, 0, &unused, &length, &unused, &unused) == 0) return {};
  for (auto& thread : process.threads) {
    if (!thread.stopped) continue;
    auto& area = thread.stopped->registers.xstate.data;
    std::uint64_t in_use = 0;
    if (area.size() < kInUse + sizeof in_use) return Err("thread {} has no extended registers", thread.tid);
    std::memcpy(&in_use, area.data() + kInUse, sizeof in_use);
    if ((in_use & ~saved_features()) != 0)
      return Err("thread {} uses extended registers that this kernel does not save (XSAVE features {:#x})",
                 thread.tid, in_use & ~saved_features());
    area.resize(length);
  }
  return {};
}

// The data becomes zeros, the code what redirect_vdso() makes of it.
Result<void> cross(Process& process, std::span<const std::byte> old_image, const CurrentVdso& current) {
  auto& memory = process.memory;
  auto code = std::find_if(memory.mappings.begin(), memory.mappings.end(),
                           [](const auto& m) { return m.kind == MappingKind::vdso && m.execute; });
  if (code == memory.mappings.end()) return {};
  const auto old_start = code->start;
  if (code->length() != old_image.size() || memory.vdso_checksum == 0)
    return Err("its vdso is not the kernel's that it ran under");
  for (auto& mapping : memory.mappings) {
    if (mapping.kind != MappingKind::vdso) continue;
    mapping.kind = MappingKind::anonymous;
    mapping.name.clear();
    mapping.flags.clear();
    mapping.offset = 0;
  }
  std::uint64_t new_code = 0;
  if (!current.mappings.empty()) {
    TRY_ASSIGN(const auto place, find_vdso_place(memory, old_start, current.end - current.start));
    for (auto mapping : current.mappings) {
      mapping.start = mapping.start - current.start + place;
      mapping.end = mapping.end - current.start + place;
      memory.mappings.push_back(std::move(mapping));
    }
    new_code = current.code - current.start + place;
    std::sort(memory.mappings.begin(), memory.mappings.end(),
              [](const auto& a, const auto& b) { return a.start < b.start; });
  }
  const VdsoAtPlace old = {old_start, {old_image.begin(), old_image.end()}};
  TRY_ASSIGN(auto redirected, redirect_vdso(old, {new_code, current.image}, where_threads_stand(process)));
  memory.contents.push_back({old_start, std::move(redirected)});
  return {};
}

}  // namespace

Result<Snapshot> for_this_kernel(Snapshot snapshot) {
  TRY_ASSIGN(const auto current, current_vdso());
  const auto old_image = std::as_bytes(std::span(snapshot.vdso.data));
  for (auto& process : snapshot.processes) {
    const auto name = fmt::format("process {}", process.pid);
    TRY_IN(name, fit_extended_registers(process));
    TRY_IN(name, shorten_timeouts(process));
  }
  if (std::ranges::equal(old_image, current.image)) return snapshot;
  const auto now = checksum({reinterpret_cast<const char*>(current.image.data()), current.image.size()});
  for (auto& process : snapshot.processes) {
    if (process.exit_status || process.memory.vdso_checksum == 0) continue;
    TRY_IN(fmt::format("process {}", process.pid), cross(process, old_image, current));
    process.memory.vdso_checksum = current.mappings.empty() ? 0 : now;
  }
  Bytes image;
  image.data.resize(current.image.size());
  std::memcpy(image.data.data(), current.image.data(), current.image.size());
  snapshot.vdso = std::move(image);
  return snapshot;
}

}  // namespace upkeep::engine
