#include "engine/rebuild/memory/vdso.h"

#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "os/vdso.h"

// __vdso_getrandom of vgetrandom(): as a system call, whatever state the caller has made for another kernel.
// Asked for the state's parameters (SIZE ~0 and nothing else), it names some that every kernel has: 144 bytes
// of private memory. Those who have asked another kernel go on with what that said.
asm(R"(
  .pushsection .rodata
  .global upkeep_getrandom_begin, upkeep_getrandom_end
upkeep_getrandom_begin:
  cmp $-1, %r8
  je 1f
0:
  mov $318, %eax
  syscall
  ret
1:
  mov %rdi, %rax
  or %rsi, %rax
  jnz 0b
  test %edx, %edx
  jnz 0b
  movq $0, 8(%rcx)
  movl $144, (%rcx)
  movl $3, 4(%rcx)
  movl $0x22, 8(%rcx)
  lea 16(%rcx), %rdi
  lea 64(%rcx), %rsi
2:
  movq $0, (%rdi)
  add $8, %rdi
  cmp %rsi, %rdi
  jne 2b
  ret
upkeep_getrandom_end:
  .popsection
)");

extern "C" {
extern const std::byte upkeep_getrandom_begin[], upkeep_getrandom_end[];
}

namespace upkeep::engine {
namespace {

using Code = std::vector<std::byte>;

struct SystemCall {
  std::string_view name;
  std::uint32_t number;
};
constexpr SystemCall kSystemCalls[] = {{"clock_gettime", SYS_clock_gettime},
                                       {"gettimeofday", SYS_gettimeofday},
                                       {"time", SYS_time},
                                       {"getcpu", SYS_getcpu},
                                       {"clock_getres", SYS_clock_getres}};

// Every function has two names, of which kernels may leave one out.
std::string_view plain(std::string_view name) {
  constexpr std::string_view kPrefix = "__vdso_";
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
}

void append(Code& code, const void* bytes, std::size_t size) {
  const auto* begin = static_cast<const std::byte*>(bytes);
  code.insert(code.end(), begin, begin + size);
}

Result<Code> jump(std::uint64_t from, std::uint64_t to) {
  constexpr std::uint64_t kLength = 5;
  const auto distance = static_cast<std::int64_t>(to - from - kLength);
  if (distance != static_cast<std::int32_t>(distance)) return Err("this kernel's vdso is too far away");
  const auto narrow = static_cast<std::int32_t>(distance);
  Code code = {std::byte{0xe9}};
  append(code, &narrow, sizeof narrow);
  return code;
}

// mov $NUMBER, %eax; syscall; ret: the arguments are where the call wants them.
Code system_call(std::uint32_t number) {
  Code code = {std::byte{0xb8}};
  append(code, &number, sizeof number);
  append(code, "\x0f\x05\xc3", 3);
  return code;
}

// What FUNCTION at ADDRESS begins with from now on; empty: nothing that we know of takes its place.
Result<Code> replacement(const os::VdsoFunction& function, std::uint64_t address,
                         const std::vector<os::VdsoFunction>& now, std::uint64_t now_start) {
  const auto name = plain(function.name);
  if (name == "getrandom") return Code(upkeep_getrandom_begin, upkeep_getrandom_end);
  for (const auto& other : now) {
    if (plain(other.name) == name) return jump(address, now_start + other.offset);
  }
  for (const auto& call : kSystemCalls) {
    if (call.name == name) return system_call(call.number);
  }
  return Code();
}

struct Range {
  std::uint64_t start, end;
};

// What is mapped, and where the heap and stacks may grow to.
std::vector<Range> taken_ranges(const AddressSpace& memory) {
  constexpr std::uint64_t kGrowth = 1ULL << 30U;
  constexpr std::uint64_t kLowest = 1ULL << 20U;  // vm.mmap_min_addr, and what is near a null pointer
  std::vector<Range> taken = {{0, kLowest}, {memory.layout.start_brk, memory.layout.brk + kGrowth}};
  for (const auto& mapping : memory.mappings) {
    const auto room = mapping.has_flag("gd") ? std::min(mapping.start, kGrowth) : 0;
    taken.push_back({mapping.start - room, mapping.end});
  }
  taken.push_back({kHighestAddress, kHighestAddress});
  std::sort(taken.begin(), taken.end(), [](const auto& a, const auto& b) { return a.start < b.start; });
  return taken;
}

}  // namespace

Result<std::vector<std::byte>> redirect_vdso(const VdsoAtPlace& old, const VdsoAtPlace& now,
                                             const std::vector<std::uint64_t>& avoid) {
  TRY_ASSIGN(const auto functions, os::vdso_functions(old.image));
  std::vector<os::VdsoFunction> current;
  if (!now.image.empty()) {
    TRY_ASSIGN(current, os::vdso_functions(now.image));
  }
  auto image = old.image;
  for (const auto& function : functions) {
    const auto address = old.start + function.offset;
    TRY_ASSIGN(const auto code, replacement(function, address, current, now.start));
    if (code.size() > function.size)
      return Err("{} of the vdso is too short to be redirected", function.name);
    for (auto place : avoid) {
      if (place > address && place < address + code.size())
        return Err("a thread stands at the beginning of the vdso's {}", function.name);
    }
    std::copy(code.begin(), code.end(), image.begin() + static_cast<std::ptrdiff_t>(function.offset));
  }
  return image;
}

Result<std::uint64_t> find_vdso_place(const AddressSpace& memory, std::uint64_t near, std::uint64_t size) {
  constexpr std::uint64_t kMargin = kPage, kReach = 1ULL << 30U;
  std::uint64_t best = 0, best_distance = kReach, free_from = 0;
  for (const auto& range : taken_ranges(memory)) {
    if (range.start > free_from && range.start - free_from >= size + 2 * kMargin) {
      const auto lowest = free_from + kMargin, highest = range.start - kMargin - size;
      const auto place = std::clamp(near, lowest, highest) / kPage * kPage;
      const auto distance = place > near ? place - near : near - place;
      if (place >= lowest && distance < best_distance) best = place, best_distance = distance;
    }
    free_from = std::max(free_from, (range.end + kPage - 1) / kPage * kPage);
  }
  if (best == 0) return Err("no place for this kernel's vdso is free near the one of before");
  return best;
}

}  // namespace upkeep::engine
