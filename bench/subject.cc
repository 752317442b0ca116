// What bench/engine measures engines on:
//
//   bench_subject tasks|threads|fds|vmas NUMBER READY
//
// makes a tree that has NUMBER of them, writes its PID to the file READY and waits to be ended. The tree has
// a session of its own and holds nothing of the caller's.

#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

[[noreturn]] void wait_for_the_end() {
  for (;;) ::pause();
}

// Children of one parent, each with a page of its own.
void make_tasks(int number) {
  for (int i = 1; i < number; ++i) {
    const pid_t pid = ::fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      wait_for_the_end();
    }
  }
}

void make_threads(int number) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 1U << 16U);
  for (int i = 1; i < number; ++i) {
    pthread_t thread = {};
    if (::pthread_create(
            &thread, &attributes, [](void*) -> void* { wait_for_the_end(); }, nullptr) != 0)
      fail("pthread_create");
  }
}

// A mixture of what servers hold.
void make_descriptors(int number) {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  for (int i = 3; i < number; ++i) {
    int fd = -1;
    switch (i % 4) {
      case 0:
        fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        break;
      case 1:
        fd = ::open("/etc/passwd", O_RDONLY | O_CLOEXEC);
        break;
      case 2:
        fd = ::eventfd(static_cast<unsigned>(i), EFD_CLOEXEC);
        break;
      default:
        fd = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        break;
    }
    if (fd < 0) fail("open");
  }
}

// Neighbours differ, so that the kernel does not merge them; every one has a page.
void make_mappings(int number) {
  constexpr std::size_t kPage = 4096;
  auto* area =
      static_cast<char*>(::mmap(nullptr, static_cast<std::size_t>(number) * kPage, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (area == MAP_FAILED) fail("mmap");
  for (int i = 0; i < number; ++i) {
    char* page = area + static_cast<std::size_t>(i) * kPage;
    *page = 1;
    if (i % 2 == 1 && ::mprotect(page, kPage, PROT_READ) < 0) fail("mprotect");
  }
}

void say_ready(const std::string& path) {
  const auto before = path + ".new", line = std::to_string(::getpid()) + "\n";
  const int fd = ::open(before.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ::write(fd, line.data(), line.size()) < 0 || ::close(fd) < 0) fail(path.c_str());
  if (::rename(before.c_str(), path.c_str()) < 0) fail(path.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench_subject tasks|threads|fds|vmas NUMBER READY\n");
    return 2;
  }
  const std::string kind = argv[1];
  const int number = std::atoi(argv[2]);
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return 0;
  ::setsid();
  ::syscall(SYS_close_range, 0U, ~0U, 0U);
  for (int i = 0; i < 3; ++i) (void)::open("/dev/null", O_RDWR);
  if (kind == "tasks") make_tasks(number);
  if (kind == "threads") make_threads(number);
  if (kind == "fds") make_descriptors(number);
  if (kind == "vmas") make_mappings(number);
  say_ready(argv[3]);
  wait_for_the_end();
}
