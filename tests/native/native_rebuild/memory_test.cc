// Memory that has a life of its own: shared, sealed, removed, locked, guarded.

#include <sys/fsuid.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <cstring>

#include "fixture.h"
#include "os/procfs.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using KindsOfMemory = TreeTest;

constexpr std::uintptr_t kPlace = 0x300000000000;
constexpr std::size_t kPageSize = 4096;

char* map_at(std::uintptr_t address, std::size_t length, int protection, int flags, int fd = -1) {
  return static_cast<char*>(
      ::mmap(reinterpret_cast<void*>(address), length, protection, flags | MAP_FIXED, fd, 0));
}
char* place(std::size_t page = 0) { return reinterpret_cast<char*>(kPlace + page * kPageSize); }

// In a subject: a child that ends with its parent and does nothing else.
void fork_companion() {
  const pid_t parent = ::getpid();
  if (::fork() != 0) return;
  board().value[6] = 1;
  for (;;) {
    if (::getppid() != parent) ::_exit(0);
    ::poll(nullptr, 0, 5);
  }
}

// value 0: the segment's ID
void use_segment(int key, bool remove) {
  const int id = ::shmget(key, 5 * kPageSize - 100, IPC_CREAT | IPC_EXCL | 0640);
  board().value[0] = static_cast<std::uint64_t>(id);
  shmid_ds about = {};
  ::shmctl(id, IPC_STAT, &about);
  about.shm_perm.uid = 11;
  ::shmctl(id, IPC_SET, &about);
  ::shmat(id, place(), 0);
  ::strcpy(place(1), "in the segment");
  ::mprotect(place(3), kPageSize, PROT_READ);
  if (remove) ::shmctl(id, IPC_RMID, nullptr);
  fork_companion();
}

// The page that cannot be written splits the mapping: three for each of the two processes.
void segment_is_as_it_was() {
  shmid_ds about = {};
  HOLDS(::shmctl(static_cast<int>(board().value[0]), IPC_STAT, &about) == 0);
  HOLDS(about.shm_nattch == 6 && about.shm_segsz == 5 * kPageSize - 100);
  HOLDS((about.shm_perm.mode & 0777U) == 0640 && about.shm_perm.uid == 11 && about.shm_perm.cuid == 0);
  HOLDS(std::strcmp(place(1), "in the segment") == 0 && place(4)[0] == 0);
}

TEST_F(KindsOfMemory, SystemVSegment) {
  const int key = static_cast<int>(0x75000000U + static_cast<unsigned>(::getpid()));
  Subject subject([&] { use_segment(key, false); }, segment_is_as_it_was);
  const int id = static_cast<int>(peek(subject.pid(), 1));
  ASSERT_TRUE(carry(subject)) << "the segment was still there";
  EXPECT_EQ(::shmget(key, 0, 0), id);
  EXPECT_NO_COMPLAINT(subject);
  // As in another kernel, where there is none.
  ASSERT_OK(os::remove_tree(images()));
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_OK(saved);
  ASSERT_TRUE(eventually([&] {
    for (pid_t pid : saved->pids) ::waitpid(pid, nullptr, WNOHANG);
    shmid_ds about = {};
    return ::shmctl(id, IPC_STAT, &about) == 0 && about.shm_nattch == 0 && !subject.alive();
  }));
  ASSERT_EQ(::shmctl(id, IPC_RMID, nullptr), 0);
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_EQ(::shmget(key, 0, 0), id);
  EXPECT_NO_COMPLAINT(subject);
  ::shmctl(id, IPC_RMID, nullptr);
}

TEST_F(KindsOfMemory, RemovedSystemVSegment) {
  Subject subject([] { use_segment(IPC_PRIVATE, true); }, segment_is_as_it_was);
  const int id = static_cast<int>(peek(subject.pid(), 1));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  subject.end();
  shmid_ds about = {};
  EXPECT_TRUE(eventually([&] { return ::shmctl(id, IPC_STAT, &about) < 0; }))
      << "it did not go with its users";
}

TEST_F(KindsOfMemory, SegmentThatOthersUseIsRefused) {
  const int id = ::shmget(IPC_PRIVATE, kPageSize, IPC_CREAT | 0600);
  Subject other([&] { ::shmat(id, place(), 0); });
  Subject subject([&] { ::shmat(id, place(), 0); });
  ::shmctl(id, IPC_RMID, nullptr);
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), ::testing::HasSubstr(fmt::format("process {} (", other.pid())));
  EXPECT_TRUE(moves(subject.pid()));
}

// 3 and 4: two descriptions of one memfd; 5: a sealed one.
TEST_F(KindsOfMemory, Memfd) {
  constexpr unsigned kAllSeals = 0xf;  // F_SEAL_SEAL, SHRINK, GROW, WRITE
  Subject subject(
      [] {
        (void)::memfd_create("the name", MFD_ALLOW_SEALING);
        (void)::ftruncate(3, 10'000);
        (void)::open("/proc/self/fd/3", O_RDONLY);
        ::lseek(3, 77, SEEK_SET);
        map_at(kPlace, 3 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, 3)[kPageSize] = 's';
        map_at(kPlace + 8 * kPageSize, 3 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, 3)[2 * kPageSize] =
            'p';
        (void)::memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
        (void)!::write(5, "sealed", 6);
        ::fcntl(5, F_ADD_SEALS, kAllSeals);
        map_at(kPlace + 16 * kPageSize, kPageSize, PROT_READ, MAP_PRIVATE, 5);
        fork_companion();
      },
      [] {
        char text[32] = {};
        HOLDS(::readlink("/proc/self/fd/3", text, sizeof text) > 0 &&
              std::strncmp(text, "/memfd:the name", 15) == 0);
        struct stat status = {};
        HOLDS(lead_to_one_file(3, 4) && ::fstat(3, &status) == 0);
        HOLDS(status.st_size == 10'000 && ::lseek(3, 0, SEEK_CUR) == 77 && ::lseek(4, 0, SEEK_CUR) == 0);
        HOLDS((::fcntl(4, F_GETFL) & O_ACCMODE) == O_RDONLY);
        HOLDS(place(1)[0] == 's' && place(9)[0] == 's' && place(10)[0] == 'p' && place(2)[0] == 0);
        HOLDS(::pread(3, text, 1, kPageSize) == 1 && text[0] == 's');
        HOLDS(::fcntl(5, F_GET_SEALS) == kAllSeals && ::pread(5, text, 6, 0) == 6 && text[0] == 's');
        HOLDS(place(16)[5] == 'd' && ::write(5, "x", 1) < 0);
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(KindsOfMemory, PosixSharedMemory) {
  const auto named = fmt::format("/upkeep-test-{}", ::getpid());
  Subject subject(
      [&] {
        (void)::shm_open(named.c_str(), O_RDWR | O_CREAT, 0600);
        (void)::ftruncate(3, 2 * kPageSize);
        map_at(kPlace, 2 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, 3)[0] = 'n';
        (void)::shm_open((named + "-gone").c_str(), O_RDWR | O_CREAT, 0640);
        (void)::ftruncate(4, 2 * kPageSize);
        ::shm_unlink((named + "-gone").c_str());
        map_at(kPlace + 4 * kPageSize, 2 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, 4)[kPageSize] = 'u';
        ::close(4);
        fork_companion();
      },
      [] {
        HOLDS(place()[0] == 'n' && place(5)[0] == 'u' && place(4)[0] == 0);
        char c = 0;
        HOLDS(::pread(3, &c, 1, 0) == 1 && c == 'n');
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  ::shm_unlink(named.c_str());
}

// The program was replaced by another one, as by an upgrade of its package.
TEST_F(KindsOfMemory, ReplacedProgram) {
  const auto program = folder_.path() + "/program";
  ASSERT_OK(os::run_checked({"cp", "/bin/sleep", program}));
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setsid();
    ::syscall(SYS_close_range, 0U, ~0U, 0);
    for (int i = 0; i < 3; ++i) (void)::open("/dev/null", O_RDWR);
    ::execl(program.c_str(), program.c_str(), "1000", nullptr);
    ::_exit(1);
  }
  const auto exe = fmt::format("/proc/{}/exe", pid);
  ASSERT_TRUE(eventually([&] { return os::read_link(exe).value_or("") == program; }));
  ASSERT_TRUE(eventually([&] { return os::read_stat(pid) && os::read_stat(pid)->state == 'S'; }));
  const auto before = os::read_file(exe);
  ASSERT_OK(before);
  ASSERT_OK(os::run_checked({"rm", program}));
  ASSERT_OK(os::run_checked({"cp", "/bin/true", program}));
  ASSERT_TRUE(make_again({pid}));
  const auto after = os::read_file(exe);
  EXPECT_TRUE(after && *after == *before);
  EXPECT_TRUE(os::read_link(exe).value_or("").ends_with(" (deleted)"));
  EXPECT_TRUE(eventually([&] { return os::read_stat(pid)->state == 'S'; })) << os::read_stat(pid)->state;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

bool flag_at(const char* address, const std::string& flag) {
  const auto text = os::read_file("/proc/self/smaps").value_or("");
  const auto begin = text.find(fmt::format("{:x}-", reinterpret_cast<std::uintptr_t>(address)));
  const auto line = text.find("VmFlags:", begin);
  return begin != std::string::npos &&
         text.substr(line, text.find('\n', line) - line).find(" " + flag) != std::string::npos;
}

TEST_F(KindsOfMemory, LockedNowAndInFuture) {
  Subject subject(
      [] {
        map_at(kPlace, 2 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        ::mlock(place(), 2 * kPageSize);
        map_at(kPlace + 4 * kPageSize, 2 * kPageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
        ::mlock2(place(4), 2 * kPageSize, MLOCK_ONFAULT);
        ::mlockall(MCL_FUTURE | MCL_ONFAULT);
      },
      [] {
        if (board().counter % 16 != 0) return;
        HOLDS(flag_at(place(), "lo") && flag_at(place(4), "lo"));
        map_at(kPlace + 16 * kPageSize, kPageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
        HOLDS(flag_at(place(16), "lo"));
        unsigned char there = 1;
        HOLDS(::mincore(place(16), kPageSize, &there) == 0 && there == 0);
        ::munmap(place(16), kPageSize);
      });
  ASSERT_TRUE(carry(subject));
  const auto then = peek(subject.pid());
  EXPECT_TRUE(eventually([&] { return peek(subject.pid()) > then + 32; }));
  EXPECT_NO_COMPLAINT(subject);
}

// As a service makes it that is not root any more.
TEST_F(KindsOfMemory, SharedMemoryOfAnotherUser) {
  Subject subject(
      [] {
        ::setfsgid(77);
        ::setfsuid(78);
        map_at(kPlace, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
        ::setfsuid(0);
        ::setfsgid(0);
        place()[0] = 's';
      },
      [] { HOLDS(place()[0] == 's'); });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(KindsOfMemory, GuardRegions) {
  static char* probe =
      static_cast<char*>(::mmap(nullptr, kPageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (::madvise(probe, kPageSize, os::kMadvGuardInstall) < 0) GTEST_SKIP() << "needs Linux 6.13";
  Subject subject(
      [] {
        map_at(kPlace, 16 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        std::memset(place(), 'm', 16 * kPageSize);
        ::madvise(place(4), 2 * kPageSize, os::kMadvGuardInstall);
      },
      [] {
        // Of a page that cannot be touched nothing can be read.
        iovec to = {board().value + 5, 1}, from = {place(5), 1};
        HOLDS(::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) < 0);
        HOLDS(place(3)[0] == 'm' && place(6)[0] == 'm');
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(KindsOfMemory, NamesDroppableAndExecuteOnly) {
  Subject subject(
      [] {
        map_at(kPlace, 2 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        constexpr int kSetVma = 0x53564d41;
        board().value[0] =
            static_cast<std::uint64_t>(::prctl(kSetVma, 0, place(), 2 * kPageSize, "my memory"));
        auto* droppable = map_at(kPlace + 4 * kPageSize, kPageSize, PROT_READ | PROT_WRITE,
                                 os::kMapDroppable | MAP_ANONYMOUS);
        if (droppable == MAP_FAILED)
          map_at(kPlace + 4 * kPageSize, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        board().value[1] = droppable == MAP_FAILED ? 0 : 1;
        place(4)[0] = 'd';
        map_at(kPlace + 8 * kPageSize, kPageSize, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
      },
      [] {
        if (board().counter % 16 != 0) return;
        const auto maps = os::read_file("/proc/self/maps").value_or("");
        HOLDS(board().value[0] != 0 || maps.find("[anon:my memory]") != std::string::npos);
        HOLDS(board().value[1] == 0 || flag_at(place(4), "dp"));
        HOLDS(place(4)[0] == 'd');
        HOLDS(maps.find(fmt::format("{:x}-{:x} --xp", kPlace + 8 * kPageSize, kPlace + 9 * kPageSize)) !=
              std::string::npos);
      });
  ASSERT_TRUE(carry(subject));
  const auto then = peek(subject.pid());
  EXPECT_TRUE(eventually([&] { return peek(subject.pid()) > then + 32; }));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(KindsOfMemory, ManyMappings) {
  constexpr std::size_t kMappings = 20'000;
  Subject subject(
      [] {
        map_at(kPlace, 2 * kMappings * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        for (std::size_t i = 0; i < kMappings; ++i) {
          place(2 * i)[0] = static_cast<char>(i);
          ::mprotect(place(2 * i + 1), kPageSize, PROT_NONE);
        }
      },
      [] {
        for (std::size_t i = 0; i < kMappings; ++i) HOLDS(place(2 * i)[0] == static_cast<char>(i));
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

}  // namespace
}  // namespace upkeep::engine
