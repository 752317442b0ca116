// Memory from the kernel's pools of huge pages (hugetlbpage.rst): private, shared, System V, memfd,
// hugetlbfs.

#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "fixture.h"
#include "os/huge_pages.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

constexpr std::uintptr_t kHugePlace = 0x300000000000;
constexpr std::uint64_t kHuge = 2U << 20U;
constexpr const char* kPool = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

// The test's own pages are added to the pool, and taken out of it again; where the machine is carried, with
// all of these tests, there are some for each of them.
class HugePagePools : public TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (IsSkipped()) return;
    if (!os::exists(kPool)) GTEST_SKIP() << "needs a processor with huge pages of 2 MiB";
    if (machine_carries()) {
      constexpr std::uint64_t kTests = 5;
      if (all() < kTests * kPages) resize(kTests * kPages);
      return;
    }
    before_ = all();
    resize(before_ + kPages);
    if (all() < before_ + kPages) {
      resize(before_);
      GTEST_SKIP() << "the kernel gives no " << kPages << " huge pages";
    }
  }
  void TearDown() override {
    if (before_ != ~0ULL) resize(before_);
  }
  static std::uint64_t all() {
    return std::strtoull(os::read_file(kPool).value_or("0").c_str(), nullptr, 10);
  }
  static void resize(std::uint64_t pages) { (void)os::write_value(kPool, std::to_string(pages)); }
  ::testing::AssertionResult save_and_end(const Subject& subject) {
    auto saved = save_trees({subject.pid()}, images(), false);
    if (!saved) return ::testing::AssertionFailure() << saved.error().message();
    const bool gone = eventually([&] {
      for (pid_t pid : saved->pids) ::waitpid(pid, nullptr, WNOHANG);
      return std::all_of(saved->pids.begin(), saved->pids.end(),
                         [](pid_t pid) { return ::kill(pid, 0) < 0; });
    });
    return gone ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << "it did not end";
  }

  static constexpr std::uint64_t kPages = 24;
  std::uint64_t before_ = ~0ULL;
};

char* huge(std::size_t page) { return reinterpret_cast<char*>(kHugePlace + page * kHuge); }
char* map_huge(std::size_t page, std::size_t count, int flags, int fd = -1) {
  return static_cast<char*>(
      ::mmap(huge(page), count * kHuge, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0));
}
constexpr int kAnonymousHuge = MAP_ANONYMOUS | MAP_HUGETLB;

// Pages of this size, and nothing of them used up by looking.
bool is_huge(const char* address) {
  const auto text = os::read_file("/proc/self/smaps").value_or("");
  const auto begin = text.find(fmt::format("{:x}-", reinterpret_cast<std::uintptr_t>(address)));
  const auto line = text.find("KernelPageSize:", begin);
  return begin != std::string::npos && std::atoi(text.c_str() + line + 15) == 2048;
}

// The child has a copy of which it has written one page.
TEST_F(HugePagePools, PrivateMemory) {
  Subject subject(
      [] {
        map_huge(0, 3, MAP_PRIVATE | kAnonymousHuge);
        huge(0)[5] = 'a';
        huge(2)[kHuge - 1] = 'c';
        ::mprotect(huge(2), kHuge, PROT_READ);
        map_huge(8, 2, MAP_PRIVATE | MAP_NORESERVE | kAnonymousHuge);
        huge(9)[4096] = 'n';
        const pid_t parent = ::getpid();
        if (::fork() != 0) return;
        huge(0)[5] = 'A';
        for (;; ::poll(nullptr, 0, 5)) {
          HOLDS(huge(0)[5] == 'A' && huge(2)[kHuge - 1] == 'c' && huge(9)[4096] == 'n');
          board().value[1].fetch_add(1);
          if (::getppid() != parent) ::_exit(0);
        }
      },
      [] {
        HOLDS(huge(0)[5] == 'a' && huge(0)[6] == 0 && huge(2)[kHuge - 1] == 'c' && huge(2)[0] == 0);
        HOLDS(huge(9)[4096] == 'n' && huge(9)[0] == 0);
        if (board().counter % 16 != 0) return;
        HOLDS(is_huge(huge(0)) && is_huge(huge(2)) && is_huge(huge(8)));
        const auto maps = os::read_file("/proc/self/maps").value_or("");
        HOLDS(maps.find(fmt::format("{:x}-{:x} r--p", kHugePlace + 2 * kHuge, kHugePlace + 3 * kHuge)) !=
              std::string::npos);
      });
  EXPECT_TRUE(os::uses_huge_pages(subject.pid()));
  for (int round = 0; round < 2; ++round) ASSERT_TRUE(carry(subject));
  EXPECT_TRUE(os::uses_huge_pages(subject.pid()));
  const auto then = peek(subject.pid());
  EXPECT_TRUE(eventually([&] { return peek(subject.pid()) > then + 32; }));
  EXPECT_NO_COMPLAINT(subject);
}

// As PostgreSQL has its buffers.
TEST_F(HugePagePools, SharedByParentAndChild) {
  Subject subject(
      [] {
        map_huge(0, 4, MAP_SHARED | kAnonymousHuge);
        huge(1)[7] = 's';
        const pid_t parent = ::getpid();
        if (::fork() != 0) return;
        auto& count = *reinterpret_cast<std::atomic<std::uint64_t>*>(huge(3));
        for (;; ::poll(nullptr, 0, 1)) {
          count.fetch_add(1);
          if (::getppid() != parent) ::_exit(0);
        }
      },
      [] {
        HOLDS(huge(1)[7] == 's' && huge(0)[0] == 0);
        board().value[0].store(*reinterpret_cast<std::atomic<std::uint64_t>*>(huge(3)));
      });
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(carry(subject));
    const auto then = peek(subject.pid(), 1);
    EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) > then; })) << "they share nothing any more";
  }
  EXPECT_NO_COMPLAINT(subject);
}

// The last page belongs to it beyond its size.
TEST_F(HugePagePools, SystemVSegment) {
  Subject subject(
      [] {
        const int id = ::shmget(IPC_PRIVATE, 2 * kHuge - 5000, IPC_CREAT | SHM_HUGETLB | 0600);
        board().value[0] = static_cast<std::uint64_t>(id);
        shmid_ds about = {};
        ::shmctl(id, IPC_STAT, &about);
        about.shm_perm.uid = 11;
        ::shmctl(id, IPC_SET, &about);
        HOLDS(::shmat(id, huge(0), 0) == huge(0));
        std::strcpy(huge(0) + 100, "in the segment");
        huge(1)[kHuge - 10] = 'e';
      },
      [] {
        HOLDS(std::strcmp(huge(0) + 100, "in the segment") == 0 && huge(1)[kHuge - 10] == 'e');
        shmid_ds about = {};
        HOLDS(::shmctl(static_cast<int>(board().value[0]), IPC_STAT, &about) == 0);
        HOLDS(about.shm_segsz == 2 * kHuge - 5000 && about.shm_perm.uid == 11 && about.shm_nattch == 1);
      });
  const int id = static_cast<int>(peek(subject.pid(), 1));
  ASSERT_TRUE(carry(subject)) << "the segment was still there";
  EXPECT_NO_COMPLAINT(subject);
  ASSERT_OK(os::remove_tree(images()));
  ASSERT_TRUE(save_and_end(subject));
  ASSERT_EQ(::shmctl(id, IPC_RMID, nullptr), 0);
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_NO_COMPLAINT(subject);
  ::shmctl(id, IPC_RMID, nullptr);
}

TEST_F(HugePagePools, Memfd) {
  Subject subject(
      [] {
        HOLDS(::memfd_create("large", MFD_HUGETLB | MFD_ALLOW_SEALING) == 3);
        HOLDS(::ftruncate(3, 4 * kHuge) == 0);
        map_huge(0, 4, MAP_SHARED, 3);
        huge(0)[1] = 's';
        huge(2)[2] = 't';
        map_huge(8, 4, MAP_PRIVATE, 3);
        huge(10)[2] = 'p';
        ::fcntl(3, F_ADD_SEALS, 4 /* F_SEAL_GROW */);
      },
      [] {
        char byte = 0;
        HOLDS(huge(0)[1] == 's' && huge(2)[2] == 't' && huge(10)[2] == 'p' && huge(8)[1] == 's');
        HOLDS(::pread(3, &byte, 1, 2) == 1 && byte == 0 && ::pread(3, &byte, 1, 1) == 1 && byte == 's');
        HOLDS(::fcntl(3, F_GET_SEALS) == 4);
      });
  for (int round = 0; round < 2; ++round) ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(HugePagePools, FilesOfHugetlbfs) {
  // That of the machine comes back with it.
  const auto mount = machine_carries() ? std::string("/dev/hugepages") : folder_.path() + "/pool";
  if (!machine_carries()) {
    ASSERT_EQ(::mkdir(mount.c_str(), 0700), 0);
    ASSERT_EQ(::mount("none", mount.c_str(), "hugetlbfs", 0, "pagesize=2M"), 0);
  }
  {
    Subject subject(
        [&] {
          for (const char* name : {"/named", "/removed"}) {
            const int fd = ::open((mount + name).c_str(), O_RDWR | O_CREAT, 0640);
            HOLDS(::ftruncate(fd, 2 * kHuge) == 0);
            map_huge(fd == 3 ? 0 : 4, 2, MAP_SHARED, fd)[kHuge] = name[1];
          }
          ::unlink((mount + "/removed").c_str());
          ::close(4);
          (void)::fallocate(3, 0, 0, 2 * kHuge);
        },
        [] { HOLDS(huge(1)[0] == 'n' && huge(5)[0] == 'r' && huge(0)[0] == 0 && huge(4)[0] == 0); });
    for (int round = 0; round < 2; ++round) EXPECT_TRUE(carry(subject));
    EXPECT_NO_COMPLAINT(subject);
    subject.end();
  }
  if (machine_carries())
    ::unlink((mount + "/named").c_str());
  else
    EXPECT_TRUE(eventually([&] { return ::umount(mount.c_str()) == 0; }));
}

TEST_F(HugePagePools, WhereTheyAreNotEnoughNothingIsMade) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it takes pages away");
  Subject subject(
      [] {
        map_huge(0, 4, MAP_PRIVATE | kAnonymousHuge);
        huge(3)[0] = 'x';
      },
      [] { HOLDS(huge(3)[0] == 'x'); });
  ASSERT_TRUE(save_and_end(subject));
  const auto pools = os::read_huge_pages();
  ASSERT_TRUE(pools);
  const auto pool = std::ranges::find_if(*pools, [](const auto& p) { return p.page_size == kHuge; });
  ASSERT_NE(pool, pools->end());
  resize(all() - pool->available() + 2);
  const auto failed = restore_trees(images(), false);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message(),
              ::testing::HasSubstr("4 huge pages of 2048 kB are needed and 2 are free: write " +
                                   std::to_string(all() + 2) + " to"));
  EXPECT_FALSE(subject.alive());
  resize(all() + 2);
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_NO_COMPLAINT(subject);
}

// What is one page as long as nobody writes to it will be one page for each of them.
TEST_F(HugePagePools, ForkedPagesThatAreTooManyAreRefused) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it takes the whole pool");
  const auto pages = all();
  Subject subject([pages] {
    map_huge(0, pages - 4, MAP_PRIVATE | MAP_NORESERVE | kAnonymousHuge);
    for (std::size_t i = 0; i < pages - 4; ++i) huge(i)[0] = 'x';
    const pid_t parent = ::getpid();
    if (::fork() != 0) return;
    for (;; ::poll(nullptr, 0, 5)) {
      board().value[1].fetch_add(1);
      if (::getppid() != parent) ::_exit(0);
    }
  });
  const auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), ::testing::HasSubstr(fmt::format("write {} to", 2 * (pages - 4))));
  EXPECT_TRUE(moves(subject.pid()));
}

}  // namespace
}  // namespace upkeep::engine
