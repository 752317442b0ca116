// Memory that only who has the right to its key may use: pkeys(7).

#include <sys/mman.h>
#include <sys/rseq.h>

#include <cstring>

#include "fixture.h"
#include "os/protection_keys.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

constexpr std::uintptr_t kKeyed = 0x300000000000;
constexpr std::size_t kSize = 4096;

class ProtectionKeys : public TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (!os::has_protection_keys()) GTEST_SKIP() << "needs a processor with protection keys";
  }
};

char* keyed(std::size_t page) { return reinterpret_cast<char*>(kKeyed + page * kSize); }
void map_keyed(std::size_t page, int key, int protection = PROT_READ | PROT_WRITE) {
  ::mmap(keyed(page), kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  *keyed(page) = static_cast<char>('a' + page);
  ::pkey_mprotect(keyed(page), kSize, protection, key);
}

// What the kernel does for a thread it may do with the thread's rights only.
bool may_read(const char* name) { return ::access(name, F_OK) == 0 || errno != EFAULT; }
bool may_write(char* to) {
  const int zeros = ::open("/dev/zero", O_RDONLY);
  const bool may = ::read(zeros, to, 1) == 1;
  ::close(zeros);
  return may;
}

bool smaps_say(const char* address, int key) {
  const auto text = os::read_file("/proc/self/smaps").value_or("");
  const auto begin = text.find(fmt::format("{:x}-", reinterpret_cast<std::uintptr_t>(address)));
  const auto line = text.find("ProtectionKey:", begin);
  return begin != std::string::npos && std::atoi(text.c_str() + line + 14) == key;
}

// Keys 1, 2 and 4 are the subject's, 3 is the kernel's for execute-only memory, 5 has been given back.
TEST_F(ProtectionKeys, KeysAndRightsOfThreads) {
  Subject subject(
      [] {
        for (int key = 1; key <= 2; ++key) HOLDS(::pkey_alloc(0, 0) == key);
        ::mmap(keyed(3), kSize, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        HOLDS(::pkey_alloc(0, 0) == 4 && ::pkey_alloc(0, 0) == 5 && ::pkey_alloc(0, 0) == 6);
        HOLDS(::pkey_free(5) == 0);
        map_keyed(1, 1);
        map_keyed(2, 2);
        map_keyed(4, 4, PROT_READ);
        map_keyed(5, 6, PROT_EXEC);
        map_keyed(6, 0, PROT_EXEC);
        ::pkey_set(1, PKEY_DISABLE_WRITE);
        ::pkey_set(2, PKEY_DISABLE_ACCESS);
        std::thread([] {
          ::pkey_set(1, PKEY_DISABLE_ACCESS);
          ::pkey_set(2, 0);
          ::pkey_set(6, PKEY_DISABLE_ACCESS);
          for (;; ::poll(nullptr, 0, 1)) {
            HOLDS(::pkey_get(1) == PKEY_DISABLE_ACCESS && ::pkey_get(6) == PKEY_DISABLE_ACCESS);
            HOLDS(*keyed(2) == 'c');
            board().value[1].fetch_add(1);
          }
        }).detach();
      },
      [] {
        HOLDS(::pkey_get(1) == PKEY_DISABLE_WRITE && ::pkey_get(2) == PKEY_DISABLE_ACCESS);
        HOLDS(::pkey_get(4) == 0 && ::pkey_get(6) == 0);
        HOLDS(*keyed(1) == 'b' && *keyed(4) == 'e');
        HOLDS(may_read(keyed(1)) && !may_write(keyed(1)) && !may_read(keyed(2)));
        HOLDS(*keyed(5) == 'f');  // it may be read where the key allows it
        HOLDS(*keyed(6) == 'g');
        if (board().counter % 16 != 0) return;
        for (int page : {1, 2, 3, 4}) HOLDS(smaps_say(keyed(static_cast<std::size_t>(page)), page));
        HOLDS(smaps_say(keyed(5), 6) && smaps_say(keyed(6), 0));
        HOLDS(::pkey_mprotect(keyed(1), kSize, PROT_READ, 3) < 0);
        HOLDS(::pkey_mprotect(keyed(1), kSize, PROT_READ, 7) < 0);
        HOLDS(::pkey_alloc(0, 0) == 5 && ::pkey_alloc(0, 0) == 7);
        HOLDS(::pkey_free(5) == 0 && ::pkey_free(7) == 0);
      });
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(carry(subject));
    const auto then = peek(subject.pid()), thread = peek(subject.pid(), 2);
    EXPECT_TRUE(
        eventually([&] { return peek(subject.pid()) > then + 32 && peek(subject.pid(), 2) > thread; }));
  }
  EXPECT_NO_COMPLAINT(subject);
}

// The kernel writes there what it writes for a restartable sequence, whatever the thread may.
void leave_restartable_sequences() {
  constexpr std::uint32_t kArea = 32, kUnregister = 1, kSignature = 0x53053053;
  ::syscall(SYS_rseq, static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset, kArea, kUnregister,
            kSignature);
}

// For some milliseconds nothing without a key may be written, the stack neither.
void write_nothing_for_a_while() {
  std::uint64_t count = 20'000'000;
  auto rights = os::own_key_rights() | 2U;
  asm volatile(
      ".byte 0x0f, 0x01, 0xef\n"
      "1: dec %1\n"
      "jnz 1b\n"
      "and $~2, %0\n"
      ".byte 0x0f, 0x01, 0xef\n"
      : "+a"(rights), "+r"(count)
      : "c"(0), "d"(0)
      : "memory", "cc");
}

// System calls cannot be run in a thread that may not use its own stack.
TEST_F(ProtectionKeys, WithoutRightsToItsStackItIsRefused) {
  Subject subject(leave_restartable_sequences, write_nothing_for_a_while);
  bool refused = false;
  for (int tries = 0; tries < 50 && !refused; ++tries) {
    auto saved = save_trees({subject.pid()}, images(), true);
    refused = !saved;
    if (refused) {
      EXPECT_THAT(saved.error().message(), ::testing::HasSubstr("may not use memory that has none"));
    }
    ASSERT_OK(os::remove_tree(images()));
  }
  EXPECT_TRUE(refused);
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(ProtectionKeys, AMainStackWithAKeyIsRefused) {
  Subject subject([] {
    const int key = ::pkey_alloc(0, 0);
    const auto maps = os::read_file("/proc/self/maps").value_or("");
    const auto line = maps.rfind('\n', maps.find("[stack]")) + 1;
    std::uintptr_t start = 0, end = 0;
    (void)std::sscanf(maps.c_str() + line, "%lx-%lx", &start, &end);
    HOLDS(::pkey_mprotect(reinterpret_cast<void*>(start), end - start, PROT_READ | PROT_WRITE, key) == 0);
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), ::testing::HasSubstr("it has protection key 1"));
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_NO_COMPLAINT(subject);
}

}  // namespace
}  // namespace upkeep::engine
