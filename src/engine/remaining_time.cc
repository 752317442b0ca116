#include "engine/remaining_time.h"

#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "engine/rebuild/memory/vdso.h"
#include "os/restart_codes.h"

namespace upkeep::engine {
namespace {

constexpr std::size_t kR10 = 7, kRax = 10, kRdx = 12, kOrigRax = 15;  // in user_regs_struct
constexpr long kEpollPwait2 = 441;                                    // SYS_epoll_pwait2, 5.11

// The register that points to the timeout; none where there is nothing to shorten.
std::uint64_t* timeout_of(Thread& thread) {
  if (!thread.stopped || thread.stopped->time_left == 0) return nullptr;
  auto& general = thread.stopped->registers.general;
  if (static_cast<long>(general[kRax]) != os::kRestartNoHand) return nullptr;
  switch (static_cast<long>(general[kOrigRax])) {
    case SYS_rt_sigtimedwait:
      return &general[kRdx];
    case SYS_semtimedop:
    case kEpollPwait2:
      return &general[kR10];
    default:
      return nullptr;
  }
}

Mapping private_memory(std::uint64_t start, std::uint64_t length) {
  Mapping mapping;
  mapping.start = start;
  mapping.end = start + length;
  mapping.read = mapping.write = true;
  mapping.kind = MappingKind::anonymous;
  return mapping;
}

}  // namespace

Result<void> shorten_timeouts(Process& process) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  std::vector<std::uint64_t*> registers;
  std::vector<timespec> times;
  for (auto& thread : process.threads) {
    auto* place = timeout_of(thread);
    if (place == nullptr) continue;
    const auto left = thread.stopped->time_left;
    registers.push_back(place);
    times.push_back({static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)});
  }
  if (times.empty()) return {};
  auto& memory = process.memory;
  const auto bytes = std::as_bytes(std::span(times));
  const auto length = (bytes.size() + kPage - 1) / kPage * kPage;
  TRY_ASSIGN(const auto start, find_vdso_place(memory, memory.layout.start_stack, length));
  for (std::size_t i = 0; i < registers.size(); ++i) *registers[i] = start + i * sizeof(timespec);
  memory.contents.push_back({start, {bytes.begin(), bytes.end()}});
  memory.mappings.push_back(private_memory(start, length));
  std::sort(memory.mappings.begin(), memory.mappings.end(),
            [](const auto& a, const auto& b) { return a.start < b.start; });
  return {};
}

}  // namespace upkeep::engine
