// Files of more kinds: removed, locked, named pipes, watched folders and processes, the kernel's own.

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <atomic>
#include <cstring>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

using KindsOfFiles = TreeTest;

// 3 and 4: two descriptions, 5: one of 4's, in the child too
TEST_F(KindsOfFiles, Unlinked) {
  const auto path = folder_.path() + "/removed";
  Subject subject(
      [&] {
        (void)::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND, 0640);
        (void)::open(path.c_str(), O_RDWR);
        (void)!::write(3, "0123456789", 10);
        (void)::ftruncate(3, 10'000);
        (void)!::pwrite(4, "end", 3, 9'990);
        ::lseek(4, 5, SEEK_SET);
        ::dup(4);
        ::fchown(3, 11, 12);
        ::unlink(path.c_str());
      },
      [] {
        struct stat status = {};
        HOLDS(lead_to_one_file(3, 4) && ::fstat(3, &status) == 0);
        HOLDS(status.st_size == 10'000 && status.st_nlink == 0);
        HOLDS((status.st_mode & 07777U) == 0640 && status.st_uid == 11 && status.st_gid == 12);
        HOLDS((::fcntl(3, F_GETFL) & O_APPEND) != 0 && ::lseek(5, 0, SEEK_CUR) == 5);
        char text[16] = {};
        HOLDS(::pread(3, text, 10, 0) == 10 && std::strcmp(text, "0123456789") == 0);
        HOLDS(::pread(4, text, 16, 9'990) == 10 && std::strcmp(text, "end") == 0);
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_FALSE(os::exists(path));
}

TEST_F(KindsOfFiles, RenamedAwayIsRefused) {
  const auto path = folder_.path() + "/first", second = folder_.path() + "/second";
  Subject subject([&] {
    (void)::open(path.c_str(), O_RDWR | O_CREAT, 0600);
    (void)::link(path.c_str(), second.c_str());
    ::unlink(path.c_str());
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), ::testing::HasSubstr("nothing tells its other name"));
  EXPECT_TRUE(moves(subject.pid()));
}

// 3: flock, 4: a record of it, of the process; 5: of the description
TEST_F(KindsOfFiles, Locks) {
  for (const char* name : {"/flock", "/posix", "/ofd"})
    ASSERT_OK(os::replace_file(folder_.path() + name, "0123456789"));
  Subject subject([&] {
    (void)::open((folder_.path() + "/flock").c_str(), O_RDWR);
    (void)::open((folder_.path() + "/posix").c_str(), O_RDWR);
    (void)::open((folder_.path() + "/ofd").c_str(), O_RDWR);
    ::flock(3, LOCK_EX);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_start = 3;
    lock.l_len = 2;
    ::fcntl(4, F_SETLK, &lock);
    lock.l_type = F_RDLCK;
    lock.l_start = 7;
    lock.l_len = 0;
    ::fcntl(4, F_SETLK, &lock);
    ::fcntl(5, F_OFD_SETLK, &lock);
  });
  ASSERT_TRUE(carry(subject));
  const auto opened = [&](const char* name) {
    return ::open((folder_.path() + name).c_str(), O_RDWR | O_CLOEXEC);
  };
  const os::UniqueFd flock_file(opened("/flock")), posix(opened("/posix")), ofd(opened("/ofd"));
  EXPECT_LT(::flock(flock_file.get(), LOCK_SH | LOCK_NB), 0);
  auto holder = [](const os::UniqueFd& fd, short type, off_t start) {
    struct flock lock = {};
    lock.l_type = type;
    lock.l_start = start;
    lock.l_len = 1;
    ::fcntl(fd.get(), F_GETLK, &lock);
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
  };
  EXPECT_EQ(holder(posix, F_RDLCK, 3), subject.pid());
  EXPECT_EQ(holder(posix, F_WRLCK, 7), subject.pid());
  EXPECT_EQ(holder(posix, F_RDLCK, 7), 0);
  EXPECT_EQ(holder(posix, F_WRLCK, 5), 0);
  EXPECT_EQ(holder(ofd, F_WRLCK, 100), -1);
  EXPECT_EQ(holder(ofd, F_WRLCK, 6), 0);
}

TEST_F(KindsOfFiles, NamedPipe) {
  const auto path = folder_.path() + "/fifo";
  Subject subject(
      [&] {
        (void)::mkfifo(path.c_str(), 0600);
        (void)::open(path.c_str(), O_RDONLY | O_NONBLOCK);
        (void)::open(path.c_str(), O_WRONLY);
        ::fcntl(4, F_SETPIPE_SZ, 16384);
        (void)!::write(4, "unread", 6);
      },
      [] {
        int unread = 0;
        HOLDS(::ioctl(3, FIONREAD, &unread) == 0 && unread == 6 && ::fcntl(3, F_GETPIPE_SZ) == 16384);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  const os::UniqueFd reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  char text[8] = {};
  EXPECT_EQ(::read(reader.get(), text, sizeof text), 6);
  EXPECT_STREQ(text, "unread");
}

// value 0: how many names were read before and after
TEST_F(KindsOfFiles, FolderInTheMiddleOfBeingListed) {
  const auto path = folder_.path() + "/many";
  ASSERT_OK(os::make_directories(path));
  constexpr int kNames = 300;
  for (int i = 0; i < kNames; ++i)
    ASSERT_OK(os::replace_file(fmt::format("{}/a-name-of-some-length-{}", path, i), ""));
  static auto read_some = [](std::size_t size) {
    alignas(8) static char entries[65536];
    const long length = ::syscall(SYS_getdents64, 3, entries, size);
    std::uint64_t count = 0;
    for (long at = 0; at < length; ++count) {
      std::uint16_t record = 0;
      std::memcpy(&record, entries + at + 16, sizeof record);
      at += record;
    }
    return count;
  };
  Subject subject(
      [&] {
        (void)::open(path.c_str(), O_RDONLY | O_DIRECTORY);
        board().value[0] = read_some(2000);
      },
      [] {
        if (board().value[1] == 1) board().value[2] = board().value[2] + read_some(65536);
      });
  ASSERT_GT(peek(subject.pid(), 1), 5U);
  ASSERT_TRUE(carry(subject));
  const std::uint64_t yes = 1;
  const iovec local = {const_cast<std::uint64_t*>(&yes), sizeof yes},
              remote = {reinterpret_cast<void*>(kBoard + 16), 8};
  ASSERT_EQ(::process_vm_writev(subject.pid(), &local, 1, &remote, 1, 0), 8);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) + peek(subject.pid(), 3) == kNames + 2; }))
      << peek(subject.pid(), 1) << " and " << peek(subject.pid(), 3);
}

// 3: the set; 4: an eventfd that was watched as 4 and 9; number 9 is another file's by now
TEST_F(KindsOfFiles, EpollEntriesOfOtherNumbersAndDisabledOnes) {
  Subject subject(
      [] {
        ::epoll_create1(0);
        ::eventfd(1, 0);
        ::dup2(4, 9);
        auto watch = [](int fd, std::uint32_t events, std::uint64_t data) {
          epoll_event event = {};
          event.events = events;
          event.data.u64 = data;
          ::epoll_ctl(3, EPOLL_CTL_ADD, fd, &event);
        };
        watch(9, EPOLLIN, 99);
        ::dup2(::eventfd(0, 0), 9);
        watch(9, EPOLLIN, 9);
        watch(4, EPOLLIN | EPOLLONESHOT, 44);
        watch(5, EPOLLIN | EPOLLET, 55);
        epoll_event event = {};
        for (int i = 0; i < 100; ++i) {  // until the one that reports once has done so
          if (::epoll_wait(3, &event, 1, 0) == 1 && event.data.u64 == 44) break;
        }
      },
      [] {
        epoll_event events[8] = {};
        HOLDS(::epoll_wait(3, events, 8, 0) == 1 && events[0].data.u64 == 99);
        // It still has its number: armed again, and silenced.
        epoll_event event = {};
        event.events = EPOLLIN | EPOLLONESHOT;
        event.data.u64 = 45;
        HOLDS(::epoll_ctl(3, EPOLL_CTL_MOD, 4, &event) == 0);
        HOLDS(::epoll_wait(3, events, 8, 0) == 2);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  const auto then = peek(subject.pid());
  EXPECT_TRUE(eventually([&] { return peek(subject.pid()) > then + 5; }));
  EXPECT_NO_COMPLAINT(subject);
}

// Watches 2 and 5 of 5 that were made. value 0: events that came, 1: of which watch
// As nginx has them between its processes, and as a program may have them for urgent data.
TEST_F(KindsOfFiles, SignalsWhenThereIsInput) {
  static std::atomic<int> seen;
  Subject subject(
      [] {
        int ends[2], on = 1;
        ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends);  // 3 and 4
        struct sigaction action = {};
        action.sa_handler = [](int) { ++seen; };
        action.sa_flags = SA_RESTART;
        ::sigaction(SIGRTMIN + 3, &action, nullptr);
        ::ioctl(3, FIOASYNC, &on);
        ::fcntl(3, F_SETOWN, ::getpid());
        ::fcntl(3, F_SETSIG, SIGRTMIN + 3);
        const f_owner_ex owner = {F_OWNER_TID, ::gettid()};
        ::fcntl(4, F_SETOWN_EX, &owner);  // nobody asks for signals
      },
      [] {
        HOLDS(::fcntl(3, F_GETOWN) == ::getpid() && ::fcntl(3, F_GETSIG) == SIGRTMIN + 3);
        HOLDS((::fcntl(3, F_GETFL) & O_ASYNC) != 0 && (::fcntl(4, F_GETFL) & O_ASYNC) == 0);
        f_owner_ex owner = {};
        HOLDS(::fcntl(4, F_GETOWN_EX, &owner) == 0 && owner.type == F_OWNER_TID && owner.pid == ::gettid());
        char byte = 'x';
        const int before = seen;
        HOLDS(::write(4, &byte, 1) == 1 && seen == before + 1);
        HOLDS(::read(3, &byte, 1) == 1 && ::write(3, &byte, 1) == 1 && ::read(4, &byte, 1) == 1);
      });
  ASSERT_TRUE(carry(subject));
  const auto then = peek(subject.pid());
  EXPECT_TRUE(eventually([&] { return peek(subject.pid()) > then + 5; }));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(KindsOfFiles, SignalsToSomebodyElseAreRefused) {
  const pid_t other = ::getpid();
  Subject subject([other] {
    int ends[2];
    ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    ::fcntl(3, F_SETOWN, other);
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("which is not part of the tree"));
}

TEST_F(KindsOfFiles, Inotify) {
  const auto folder = folder_.path() + "/watched", file = folder_.path() + "/file";
  ASSERT_OK(os::make_directories(folder));
  ASSERT_OK(os::replace_file(file, "x"));
  Subject subject(
      [&] {
        ::inotify_init1(IN_NONBLOCK);
        const int first = ::inotify_add_watch(3, "/", IN_CREATE);
        ::inotify_add_watch(3, folder.c_str(), IN_CREATE | IN_DELETE | IN_ONLYDIR);
        const int third = ::inotify_add_watch(3, "/tmp", IN_CREATE),
                  fourth = ::inotify_add_watch(3, "/usr", IN_CREATE);
        ::inotify_add_watch(3, file.c_str(), IN_ATTRIB);
        for (int wd : {first, third, fourth}) ::inotify_rm_watch(3, wd);
        char events[4096];
        (void)!::read(3, events, sizeof events);
      },
      [] {
        alignas(8) char events[4096] = {};
        const auto size = ::read(3, events, sizeof events);
        HOLDS(size > 0 || errno == EAGAIN);
        for (ssize_t at = 0; at < size;) {
          inotify_event event = {};
          std::memcpy(&event, events + at, sizeof event);
          at += static_cast<ssize_t>(sizeof event + event.len);
          board().value[0]++;
          board().value[1] = static_cast<std::uint64_t>(event.wd);
        }
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_EQ(peek(subject.pid(), 1), 0U) << "an event of ours";
  ASSERT_OK(os::write_value("/proc/self/comm", "test"));
  ASSERT_EQ(::mkdir((folder + "/new").c_str(), 0700), 0);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) == 1; }));
  EXPECT_EQ(peek(subject.pid(), 2), 2U);
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) == 2; }));
  EXPECT_EQ(peek(subject.pid(), 2), 5U);
  EXPECT_NO_COMPLAINT(subject);
}

// 3: of the subject itself, 4: of its child, 5: of one that has ended, 6: of the test, 7: of one that ends
// while the subject is away
TEST_F(KindsOfFiles, Pidfds) {
  static pid_t test = ::getpid();
  Subject other;
  Subject subject(
      [&] {
        auto open = [](pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); };
        open(::getpid());
        const pid_t parent = ::getpid(), child = ::fork();
        if (child == 0) {
          while (::getppid() == parent) ::poll(nullptr, 0, 5);
          ::_exit(0);
        }
        board().value[0] = static_cast<std::uint64_t>(child);
        open(child);
        const pid_t ended = ::fork();
        if (ended == 0) ::_exit(0);
        open(ended);
        ::waitpid(ended, nullptr, 0);
        open(test);
        open(other.pid());
      },
      [] {
        auto alive = [](int fd) { return ::syscall(SYS_pidfd_send_signal, fd, 0, nullptr, 0) == 0; };
        HOLDS(alive(3) && alive(4) && !alive(5) && alive(6));
        board().value[1] = alive(7) ? 1 : 2;
      });
  // From outside: the subject must not have such a file open when it is stopped.
  auto lead_where_they_did = [&] {
    auto is = [&](int fd, pid_t pid) {
      const auto info = os::read_file(fmt::format("/proc/{}/fdinfo/{}", subject.pid(), fd)).value_or("");
      return info.find(fmt::format("Pid:\t{}\n", pid)) != std::string::npos;
    };
    const auto child = static_cast<pid_t>(peek(subject.pid(), 1));
    return is(3, subject.pid()) && is(4, child) && is(5, -1) && is(6, test);
  };
  ASSERT_TRUE(carry(subject));
  EXPECT_TRUE(lead_where_they_did());
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == 1; }));
  ASSERT_OK(os::remove_tree(images()));
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_OK(saved);
  for (pid_t pid : saved->pids) ::waitpid(pid, nullptr, 0);
  other.end();
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == 2; }));
  EXPECT_TRUE(lead_where_they_did());
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(KindsOfFiles, TimerThatIsCancelledWhenTheClockIsSet) {
  Subject subject(
      [] {
        ::timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
        timespec now = {};
        ::clock_gettime(CLOCK_REALTIME, &now);
        const itimerspec time = {{0, 0}, {now.tv_sec + 3600, 0}};
        ::timerfd_settime(3, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &time, nullptr);
      },
      [] {
        itimerspec left = {};
        HOLDS(::timerfd_gettime(3, &left) == 0 && left.it_value.tv_sec > (machine_carries() ? 600 : 3500) &&
              left.it_value.tv_sec <= 3600);
      });
  // Not by the subject: with such a file open it could not be carried.
  const auto info = [&] {
    return os::read_file(fmt::format("/proc/{}/fdinfo/3", subject.pid())).value_or("");
  };
  EXPECT_THAT(info(), HasSubstr("settime flags: 03\n"));
  ASSERT_TRUE(carry(subject));
  EXPECT_THAT(info(), HasSubstr("settime flags: 03\n"));
  EXPECT_NO_COMPLAINT(subject);
}

// 3: mountinfo, read a bit; 4: of the subject itself; 5: of sysfs; 6: memory of its own; 7 and 8: cgroup
// version 2
TEST_F(KindsOfFiles, KernelFiles) {
  Subject subject(
      [] {
        (void)::open("/proc/self/mountinfo", O_RDONLY);
        char text[16];
        (void)!::read(3, text, 7);
        (void)::open("/proc/self/stat", O_RDONLY);
        (void)::open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDWR);
        (void)::open("/proc/self/mem", O_RDWR);
        (void)::open("/proc/swaps", O_RDONLY);
        (void)::open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
      },
      [] {
        HOLDS(::lseek(3, 0, SEEK_CUR) == 7);
        char text[64] = {};
        HOLDS(::pread(4, text, sizeof text - 1, 0) > 0 &&
              std::strncmp(text, fmt::format("{} (", ::getpid()).c_str(), 5) == 0);
        HOLDS(::pread(5, text, sizeof text - 1, 0) > 0 && std::strchr(text, '[') != nullptr);
        std::uint64_t value = 0;
        HOLDS(::pread(6, &value, sizeof value, kBoard + 8 * 7) == sizeof value && value == 0);
        HOLDS(::fcntl(7, F_GETFD) == 0 && ::faccessat(8, "7", F_OK, AT_SYMLINK_NOFOLLOW) == 0);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(KindsOfFiles, WhatIsAboutADescriptorIsRefused) {
  Subject subject([] { (void)::open("/proc/self/fdinfo/0", O_RDONLY); });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("it is about a descriptor"));
}

TEST_F(KindsOfFiles, FilesOfOtherProcessesAreRefused) {
  const pid_t test = ::getpid();
  Subject subject([&] { (void)::open(fmt::format("/proc/{}/stat", test).c_str(), O_RDONLY); });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), ::testing::HasSubstr("about a process that is not part of the tree"));
}

TEST_F(KindsOfFiles, KernelMessagesCanBeWrittenButNotRead) {
  if (!os::open_file("/dev/kmsg", O_RDWR)) GTEST_SKIP() << "needs /dev/kmsg";
  Subject subject([] { (void)::open("/dev/kmsg", O_WRONLY); });
  EXPECT_TRUE(carry(subject));
  Subject reader([] { (void)::open("/dev/kmsg", O_RDONLY); });
  auto saved = save_trees({reader.pid()}, images() + "-2", false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), ::testing::HasSubstr("kernel's messages"));
}

}  // namespace
}  // namespace upkeep::engine
