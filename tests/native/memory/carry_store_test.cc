// Real huge pages of this machine's kernel: taken, filled, read back, given back. Needs root; leaves the
// pools as they were.
#include "memory/carry_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "memory/carried_images.h"
#include "memory/huge_pool.h"
#include "os/child.h"
#include "os/file.h"

namespace upkeep::memory {
namespace {

class CarryStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    auto planned = plan_reservation(kNeeded);
    if (!planned) GTEST_SKIP() << planned.error().message();
    plan_ = std::move(*planned);
    // A small store: gigantic pages would take a gigabyte of a shared machine.
    plan_.gigantic = false;
    // Whether this machine's memory holds long enough runs at the moment is its history, not the code's: a
    // refusal for that reason is right, and is what the unit tests of the choice assert.
    if (auto tried = CarryStore::reserve(plan_); !tried) {
      ASSERT_TRUE(undo_reservation(plan_.undo));
      const std::string why = tried.error().message();
      ASSERT_NE(why.find("fragmented"), std::string::npos) << why;
      GTEST_SKIP() << why;
    }
    ASSERT_TRUE(undo_reservation(plan_.undo));
    std::string pattern = "/dev/shm/upkeep-carry-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    if (!plan_.undo.is_null()) {
      EXPECT_TRUE(undo_reservation(plan_.undo));
    }
    if (!folder_.empty()) (void)os::remove_tree(folder_);
  }
  std::uint64_t pool_size() const { return HugePool(plan_.files.pools, 2 * kMiB).size().value(); }

  static constexpr std::uint64_t kNeeded = 64 * kMiB;
  ReservationPlan plan_;
  std::string folder_;
};

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  std::uint64_t value = 88172645463325252U;
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    value ^= value << 13U;
    value ^= value >> 7U;
    value ^= value << 17U;
    std::memcpy(text.data() + i, &value, 8);
  }
  return text;
}

TEST_F(CarryStoreTest, TakesFillsReadsAndGivesBack) {
  const auto before = pool_size();
  const auto content = pattern(48 * kMiB);
  {
    auto store = CarryStore::reserve(plan_);
    ASSERT_TRUE(store) << store.error().message();
    EXPECT_GE(store->size(), kNeeded);
    EXPECT_EQ(pool_size(), before + store->size() / store->page_size())
        << "what was taken to choose from is returned";
    EXPECT_LE(store->ranges().size(), 12U);
    const auto ram = parse_system_ram(os::read_file("/proc/iomem").value()).value();
    for (const auto& range : store->ranges()) {
      EXPECT_GE(range.start, 16 * kMiB);
      EXPECT_THAT(without(std::vector{range}, ram), testing::IsEmpty()) << text(range) << " is not RAM";
    }
    const auto window = kexec_window(ram, store->ranges(), 256 * kMiB);
    ASSERT_TRUE(window) << window.error().message();
    for (const auto& range : store->ranges()) EXPECT_FALSE(window->overlaps(range));

    ASSERT_TRUE(os::replace_file(folder_ + "/pages-1.img", content));
    const auto folder = os::open_file(folder_, O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(folder);
    auto writer = store->writer("native");
    ASSERT_TRUE(writer) << writer.error().message();
    ASSERT_TRUE(writer->add_tree("images", *folder));
    ASSERT_TRUE(writer->add_bytes("manifest.json", "{}"));
    ASSERT_TRUE(writer->finish());
    EXPECT_TRUE(store->in_place());

    // As the new kernel would see it: only the bytes, in the order of the ranges.
    std::string bytes;
    ASSERT_TRUE(
        store->memory().visit(0, writer->used(), kMiB, [&](std::span<std::byte> piece) -> Result<void> {
          bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
          return {};
        }));
    ASSERT_TRUE(os::replace_file(folder_ + "/store", bytes));
    auto images = CarriedImages::open_file(folder_ + "/store");
    ASSERT_TRUE(images) << images.error().message();
    EXPECT_EQ(images->header().ranges, store->ranges());
    EXPECT_EQ(images->manifest().value(), "{}");
    EXPECT_EQ(images->read("images/pages-1.img").value(), content);
  }
  EXPECT_GT(pool_size(), before) << "the pool shrinks with undo, not before";
  ASSERT_TRUE(undo_reservation(plan_.undo));
  EXPECT_EQ(pool_size(), before);
}

// The mapping must not go over to children: a write after a fork would go to a copy elsewhere in memory.
TEST_F(CarryStoreTest, AChildDoesNotMoveThePages) {
  auto store = CarryStore::reserve(plan_);
  ASSERT_TRUE(store) << store.error().message();
  ASSERT_TRUE(os::run_checked({"true"}));
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  os::UniqueFd read_end(pipe_fds[0]), write_end(pipe_fds[1]);
  const auto child = os::fork_child([&]() -> int {
    char byte = 0;
    write_end.reset();
    return ::read(read_end.get(), &byte, 1) == 0 ? 0 : 1;  // until the parent closes its end
  });
  ASSERT_TRUE(child);
  ASSERT_TRUE(store->writer("while-a-child-lives").value().finish());
  EXPECT_TRUE(store->in_place());
  write_end.reset();
  EXPECT_TRUE(os::wait_child(*child, std::chrono::seconds(5)).value().success());
}

// kill -9 of the holder: any other process undoes with what is in the journal.
TEST_F(CarryStoreTest, AnotherProcessUndoesAfterTheHolderWasKilled) {
  const auto before = pool_size();
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  os::UniqueFd read_end(pipe_fds[0]), write_end(pipe_fds[1]);
  const auto holder = os::fork_child([&]() -> int {
    auto store = CarryStore::reserve(plan_);
    (void)!::write(write_end.get(), store ? "1" : "0", 1);
    for (;;) ::pause();
  });
  ASSERT_TRUE(holder);
  char taken = '?';
  ASSERT_EQ(::read(read_end.get(), &taken, 1), 1);
  EXPECT_EQ(taken, '1');
  EXPECT_GT(pool_size(), before);
  ASSERT_EQ(::kill(holder->pid, SIGKILL), 0);
  ASSERT_TRUE(os::wait_child(*holder, std::chrono::seconds(10)));
  ASSERT_TRUE(undo_reservation(nlohmann::json::parse(plan_.undo.dump())));
  EXPECT_EQ(pool_size(), before);
}

TEST_F(CarryStoreTest, WhatCannotBeHadIsAnErrorAndLeavesNothing) {
  const auto before = pool_size();
  plan_.bytes_needed = plan_.memory.total * 2;
  plan_.memory.available = plan_.bytes_needed + margin(plan_.memory);  // somebody else was faster
  plan_.bytes_needed = 1 * kMiB;
  plan_.files.pools = folder_;  // a kernel without such a pool
  EXPECT_FALSE(CarryStore::reserve(plan_));
  EXPECT_EQ(HugePool("/sys/kernel/mm/hugepages", 2 * kMiB).size().value(), before);
}

// The price of carrying: copy and checksum beside copying alone. No bound is asserted on a shared machine but
// a gross one.
TEST_F(CarryStoreTest, CopyAndChecksumBesideCopyAlone) {
  auto store = CarryStore::reserve(plan_);
  ASSERT_TRUE(store) << store.error().message();
  const auto content = pattern(48 * kMiB);
  auto copied = std::chrono::nanoseconds::max();
  for (int round = 0; round < 3; ++round) {
    const Stopwatch copying;
    std::uint64_t at = 0;
    ASSERT_TRUE(
        store->memory().visit(0, content.size(), kMiB, [&](std::span<std::byte> piece) -> Result<void> {
          std::memcpy(piece.data(), content.data() + at, piece.size());
          at += piece.size();
          return {};
        }));
    copied = std::min(copied, copying.elapsed());
  }
  auto stored = std::chrono::nanoseconds::max();
  for (int round = 0; round < 3; ++round) {
    auto writer = StoreWriter::create(store->memory(), store->ranges(), "speed", 1);
    ASSERT_TRUE(writer && writer->add_bytes("pages", content));
    stored = std::min(stored, writer->measured().time);
  }
  const double ratio = static_cast<double>(stored.count()) / static_cast<double>(copied.count());
  fmt::print("copy and checksum on one thread: {:.2f} times memcpy ({:.0f} MB/s)\n", ratio,
             48.0 / std::chrono::duration<double>(stored).count());
  RecordProperty("ratio_to_memcpy", fmt::format("{:.2f}", ratio));
  EXPECT_LT(ratio, 20.0);
}

}  // namespace
}  // namespace upkeep::memory
