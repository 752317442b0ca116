#include "engine/rebuild/calls/program.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstring>

#include "engine/rebuild/files/descriptors.h"
#include "engine/rebuild/memory/address_space.h"

namespace upkeep::engine {
namespace {

template <typename T>
T at(const std::vector<std::byte>& bytes, std::size_t offset) {
  T value = {};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

TEST(Program, DataLiesBehindTheCalls) {
  Program program;
  const auto text = program.text("/dev/null");
  program.call(SYS_open, {text, 2});
  program.try_call(SYS_close, {-1});
  const auto placed = program.placed(0x10000);
  ASSERT_EQ(placed.size(), program.size());
  const auto open = at<PlacedCall>(placed, 0), close = at<PlacedCall>(placed, sizeof(PlacedCall));
  EXPECT_EQ(open.number, static_cast<std::uint64_t>(SYS_open));
  EXPECT_EQ(open.arguments[0], 0x10000 + 2 * sizeof(PlacedCall));
  EXPECT_EQ(open.arguments[1], 2U);
  EXPECT_EQ(open.may_fail, 0U);
  EXPECT_EQ(close.arguments[0], ~0ULL);
  EXPECT_EQ(close.may_fail, 1U);
  EXPECT_STREQ(reinterpret_cast<const char*>(placed.data()) + 2 * sizeof(PlacedCall), "/dev/null");
}

TEST(Program, PointersInDataAreWhereItLies) {
  Program program;
  const auto first = program.value(std::uint64_t{7});
  const auto second = program.room(32);
  program.pointer(second, 8, first);
  program.call(SYS_write, {1, second, 32});
  const auto placed = program.placed(0x10000);
  EXPECT_EQ(at<std::uint64_t>(placed, sizeof(PlacedCall) + 16 + 8), 0x10000 + sizeof(PlacedCall));
}

TEST(Program, IsReadable) {
  Program program;
  program.call(SYS_mmap, {0x7f0000000000, 4096, PROT_READ, MAP_PRIVATE, -1, 0});
  program.try_call(SYS_prctl, {program.text("x")});
  program.call(9999, {});
  EXPECT_EQ(program.describe(),
            "mmap(0x7f0000000000, 4096, 1, 2, -1, 0)\nprctl(data+0) may fail\nsyscall 9999()\n");
}

// Numbers are worked out beforehand: whatever the lowest free one is, it is moved to where it belongs.
TEST(Compile, DescriptorsGoUpwards) {
  Process process;
  process.descriptors = {{0, false, 0}, {1, true, 1}, {5, true, 0}};
  EXPECT_EQ(compile_descriptors(process, {40, 41}, 7).describe(),
            "pidfd_open(7, 0)\n"
            "fcntl(0, 1030, 6)\n"
            "close(0)\n"
            "pidfd_getfd(6, 40, 0)\n"
            "fcntl(0, 2, 0)\n"
            "pidfd_getfd(6, 41, 0)\n"
            "pidfd_getfd(6, 40, 0)\n"
            "dup3(2, 5, 0x80000)\n"
            "close(2)\n"
            "close(6)\n");
}

// Nobody can ask for a place for it: it is the only one that is left.
TEST(Compile, RingsHaveOneGapToLieIn) {
  Process process;
  process.memory.executable = "/bin/x";
  Mapping low, high;
  low.kind = high.kind = MappingKind::io_uring;
  low.shared = high.shared = low.read = high.read = low.write = high.write = true;
  low.start = 0x80000, low.end = 0x81000, low.inode = 5;
  high.start = 0x300000, high.end = 0x302000, high.inode = 5, high.offset = 0x10000000;
  process.memory.mappings = {low, high};
  MemorySources sources{0x100000, 0x200000, 8, 7, {}};
  sources.kept[{0, 5, true}] = 9;
  const auto text = compile_memory(process, sources).describe();
  auto at = std::string::npos;
  for (const char* line :
       {"mmap(0x10000, 0xf0000, 0, ", "munmap(0x80000, 4096)", "mmap(0, 4096, 3, 1, 2, 0)",
        "munmap(0x300000, 8192)", "mmap(0, 8192, 3, 1, 2, 0x10000000)", "munmap(4096, 0x7f000)",
        "munmap(0x81000, 0x7f000)", "munmap(0x200000, 0x100000)", "munmap(0x302000, "}) {
    at = text.find(line, at == std::string::npos ? 0 : at);
    ASSERT_NE(at, std::string::npos) << line << " in\n" << text;
  }
}

TEST(Compile, MemoryIsWritableWhileItIsFilled) {
  Process process;
  process.memory.executable = "/bin/x";
  Mapping code{0x10000, 0x12000, true, false, true, false, 0, MappingKind::file, "/bin/x", 0, 1, {}};
  Mapping heap{0x20000, 0x22000, true, true, false, false, 0, MappingKind::anonymous, "[heap]", 0, 0, {"hg"}};
  process.memory.mappings = {code, heap};
  process.memory.pages = {{0x11000, 1, 0}, {0x20000, 2, 4096}};
  const auto text = compile_memory(process, {0x100000, 0x200000, 8, 7, {}}).describe();
  EXPECT_NE(text.find("mmap(0x10000, 8192, 7, "), std::string::npos) << text;
  EXPECT_NE(text.find("mprotect(0x10000, 8192, 5)"), std::string::npos) << text;
  EXPECT_EQ(text.find("mprotect(0x20000"), std::string::npos) << text;
  EXPECT_LT(text.find("madvise(0x20000, 8192, 14)"), text.find("preadv")) << text;
  EXPECT_NE(text.find(", 2, 0, 0)\nmprotect"), std::string::npos) << "one preadv for both runs: " << text;
}

// New keys are the lowest free ones: 2 becomes the kernel's own, for execute-only memory, where only 1 is
// taken.
TEST(Compile, ProtectionKeysAreWhatTheyWere) {
  Process process;
  auto& memory = process.memory;
  memory.executable = "/bin/x";
  memory.protection_keys = 0b100011;
  Mapping plain{0x10000, 0x11000, true, true, false, false, 0, MappingKind::anonymous, "", 0, 0, {}};
  auto keyed = plain, execute_only = plain, readable = plain;
  keyed.start = 0x20000, keyed.end = 0x21000, keyed.protection_key = 5;
  execute_only.start = 0x30000, execute_only.end = 0x31000, execute_only.protection_key = 2;
  execute_only.read = execute_only.write = false, execute_only.execute = true;
  readable = execute_only;
  readable.start = 0x40000, readable.end = 0x41000, readable.protection_key = 0;
  memory.mappings = {plain, keyed, execute_only, readable};
  EXPECT_EQ(memory.execute_only_key(), 2U);
  const auto text = compile_memory(process, {0x100000, 0x200000, 8, 7, {}}).describe();
  const std::vector<std::string> steps = {"pkey_alloc(0, 0)\n",
                                          "mmap(0x10000, 4096, 3, ",
                                          "mmap(0x20000, 4096, 3, ",
                                          "mmap(0x30000, 4096, 4, ",
                                          "mmap(0x40000, 4096, 0, ",
                                          "pkey_alloc(0, 0)\npkey_alloc(0, 0)\npkey_alloc(0, 0)\n",
                                          "pkey_mprotect(0x20000, 4096, 3, 5)\n",
                                          "pkey_mprotect(0x40000, 4096, 4, 0)\n",
                                          "pkey_free(3)\npkey_free(4)\n"};
  std::size_t at = 0;
  for (const auto& step : steps) {
    const auto found = text.find(step, at);
    ASSERT_NE(found, std::string::npos) << step << "\n" << text;
    at = found + step.size();
  }
  EXPECT_EQ(text.find("pkey_", at), std::string::npos) << text;
}

}  // namespace
}  // namespace upkeep::engine
