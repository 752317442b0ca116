// Another kernel's vdso: what it exports is found, and every entry leads to this kernel.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include <cstring>

#include "engine/rebuild/memory/vdso.h"
#include "os/vdso.h"

namespace upkeep::engine {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> own_image() {
  auto vdso = os::own_vdso();
  if (!vdso || !*vdso) return {};
  return {(*vdso)->image().begin(), (*vdso)->image().end()};
}

const os::VdsoFunction* find(const std::vector<os::VdsoFunction>& functions, std::string_view name) {
  for (const auto& function : functions) {
    if (function.name == name) return &function;
  }
  return nullptr;
}

// An image that can be run, somewhere.
class Runnable {
 public:
  explicit Runnable(std::size_t size)
      : size_(size),
        memory_(
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  Runnable(const Runnable&) = delete;
  ~Runnable() { ::munmap(memory_, size_); }
  std::uint64_t address() const { return reinterpret_cast<std::uintptr_t>(memory_); }
  void fill(const std::vector<std::byte>& image) { std::memcpy(memory_, image.data(), image.size()); }

 private:
  std::size_t size_;
  void* memory_;
};

TEST(Vdso, IsFoundAmongMappings) {
  const auto vdso = os::parse_vdso(
      "7ffd0000-7ffd1000 rw-p 00000000 00:00 0                          [stack]\n"
      "7ffe4000-7ffe8000 r--p 00000000 00:00 0                          [vvar]\n"
      "7ffe8000-7ffea000 r--p 00000000 00:00 0                          [vvar_vclock]\n"
      "7ffea000-7ffec000 r-xp 00000000 00:00 0                          [vdso]\n"
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0          [vsyscall]\n");
  ASSERT_TRUE(vdso);
  EXPECT_EQ(vdso->start, 0x7ffe4000U);
  EXPECT_EQ(vdso->code, 0x7ffea000U);
  EXPECT_EQ(vdso->end, 0x7ffec000U);
  EXPECT_FALSE(os::parse_vdso("7ffd0000-7ffd1000 rw-p 00000000 00:00 0  [stack]\n"));
  EXPECT_FALSE(os::parse_vdso(""));
}

TEST(Vdso, ExportsClocks) {
  auto functions = os::vdso_functions(own_image());
  ASSERT_TRUE(functions) << functions.error().message();
  EXPECT_NE(find(*functions, "__vdso_clock_gettime"), nullptr);
  EXPECT_NE(find(*functions, "__vdso_getcpu"), nullptr);
}

TEST(Vdso, CutShortOrAlteredItIsRefusedOrRead) {
  const auto image = own_image();
  for (std::size_t size = 0; size < image.size(); size += 7)
    (void)os::vdso_functions(std::span(image).first(size));
  for (std::size_t at = 0; at < 1536; ++at) {
    auto altered = image;
    altered[at] ^= std::byte{0xff};
    (void)os::vdso_functions(altered);
  }
  EXPECT_FALSE(os::vdso_functions(std::span(image).first(100)));
}

// Where this kernel has no vdso, or lacks a function, the system call is made.
TEST(Vdso, WithoutAnotherOneItMakesSystemCalls) {
  const auto image = own_image();
  Runnable place(image.size());
  auto redirected = redirect_vdso({place.address(), image}, {}, {});
  ASSERT_TRUE(redirected) << redirected.error().message();
  place.fill(*redirected);
  const auto functions = os::vdso_functions(image).value();
  auto at = [&](const char* name) { return place.address() + find(functions, name)->offset; };
  auto gettime = reinterpret_cast<int (*)(clockid_t, timespec*)>(at("__vdso_clock_gettime"));
  timespec before = {}, between = {}, after = {};
  ::clock_gettime(CLOCK_MONOTONIC, &before);
  ASSERT_EQ(gettime(CLOCK_MONOTONIC, &between), 0);
  ::clock_gettime(CLOCK_MONOTONIC, &after);
  auto ns = [](const timespec& time) { return time.tv_sec * 1'000'000'000L + time.tv_nsec; };
  EXPECT_LE(ns(before), ns(between));
  EXPECT_LE(ns(between), ns(after));
  EXPECT_EQ(gettime(1234567, &between), -EINVAL);
  auto time_now = reinterpret_cast<time_t (*)(time_t*)>(at("__vdso_time"));
  EXPECT_LE(std::abs(time_now(nullptr) - ::time(nullptr)), 1);
  auto getcpu = reinterpret_cast<long (*)(unsigned*, unsigned*, void*)>(at("__vdso_getcpu"));
  unsigned cpu = 77777;
  EXPECT_EQ(getcpu(&cpu, nullptr, nullptr), 0);
  EXPECT_NE(cpu, 77777U);
}

TEST(Vdso, RandomNumbersNeedNoState) {
  const auto image = own_image();
  const auto functions = os::vdso_functions(image).value();
  const auto* function = find(functions, "__vdso_getrandom");
  if (function == nullptr) GTEST_SKIP() << "this kernel has no vgetrandom()";
  Runnable place(image.size());
  auto redirected = redirect_vdso({place.address(), image}, {place.address() + (1U << 20U), image}, {});
  ASSERT_TRUE(redirected) << redirected.error().message();
  place.fill(*redirected);
  auto random = reinterpret_cast<ssize_t (*)(void*, std::size_t, unsigned, void*, std::size_t)>(
      place.address() + function->offset);
  struct Parameters {
    std::uint32_t size, protection, flags, reserved[13];
    std::uint64_t behind;
  } parameters = {1, 1, 1, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 5};
  EXPECT_EQ(random(nullptr, 0, 0, &parameters, ~0ULL), 0);
  EXPECT_EQ(parameters.size, 144U);
  EXPECT_EQ(parameters.protection, static_cast<std::uint32_t>(PROT_READ | PROT_WRITE));
  EXPECT_EQ(parameters.flags, static_cast<std::uint32_t>(MAP_PRIVATE | MAP_ANONYMOUS));
  EXPECT_THAT(parameters.reserved, ::testing::Each(0U));
  EXPECT_EQ(parameters.behind, 5U);
  std::array<std::uint64_t, 4> first = {}, second = {}, state = {};
  EXPECT_EQ(random(first.data(), sizeof first, 0, state.data(), 4711), 32);
  EXPECT_EQ(random(second.data(), sizeof second, GRND_NONBLOCK, nullptr, 0), 32);
  EXPECT_NE(first, second);
  EXPECT_THAT(state, ::testing::Each(0U));
  EXPECT_EQ(random(reinterpret_cast<void*>(1), 16, 0, nullptr, 0), -EFAULT);
}

TEST(Vdso, EntriesJumpToTheOtherOne) {
  const auto image = own_image();
  const std::uint64_t old_start = 0x7ffff0000000, now_start = old_start - 0x40000000;
  auto redirected = redirect_vdso({old_start, image}, {now_start, image}, {});
  ASSERT_TRUE(redirected) << redirected.error().message();
  const auto functions = os::vdso_functions(image).value();
  for (const auto& function : functions) {
    if (function.name.ends_with("getrandom")) continue;
    EXPECT_EQ((*redirected)[function.offset], std::byte{0xe9}) << function.name;
    std::int32_t distance = 0;
    std::memcpy(&distance, redirected->data() + function.offset + 1, sizeof distance);
    EXPECT_EQ(old_start + function.offset + 5 + static_cast<std::uint64_t>(distance),
              now_start + function.offset)
        << function.name;
  }
  const auto entry = old_start + find(functions, "__vdso_time")->offset;
  EXPECT_TRUE(redirect_vdso({old_start, image}, {now_start, image}, {entry, entry + 5}));
  auto refused = redirect_vdso({old_start, image}, {now_start, image}, {entry + 4});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("a thread stands at the beginning of the vdso's"));
  refused = redirect_vdso({old_start, image}, {0x1000, image}, {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("too far away"));
}

Mapping mapping(std::uint64_t start, std::uint64_t end, std::vector<std::string> flags = {}) {
  Mapping result;
  result.start = start, result.end = end, result.flags = std::move(flags);
  return result;
}

TEST(Vdso, GetsTheNearestPlace) {
  AddressSpace memory;
  memory.layout.start_brk = memory.layout.brk = 0x555500000000;
  memory.mappings = {mapping(0x7fff00000000, 0x7fff00010000, {"gd"}), mapping(0x7fff00020000, 0x7fff00026000),
                     mapping(0x7fff0002a000, 0x7fff0002b000)};
  // Behind its neighbour, for three free pages are too few; never below the stack.
  EXPECT_EQ(find_vdso_place(memory, 0x7fff00020000, 6 * kPage).value(), 0x7fff00019000U);
  EXPECT_EQ(find_vdso_place(memory, 0x7fff00024000, 2 * kPage).value(), 0x7fff00027000U);
  memory.mappings = {mapping(0x100000, 0x7fff00000000, {"gd"})};
  memory.mappings.push_back(mapping(0x7fff00001000, kHighestAddress));
  EXPECT_FALSE(find_vdso_place(memory, 0x7fff00001000, 6 * kPage));
}

}  // namespace
}  // namespace upkeep::engine
