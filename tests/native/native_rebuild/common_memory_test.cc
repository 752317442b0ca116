// Forked processes, which are made with what they have in common with their parent, and then differ from it.

#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>
#include <set>

#include "fixture.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using ForkedProcesses = TreeTest;

constexpr std::size_t kPageSize = 4096, kMappings = 32, kChildren = 40, kLength = 4 * kPageSize;

// Mappings of the program's own file and, every fourth one, of no file, with gaps between them.
char* place(std::size_t mapping, std::size_t page = 0) {
  return reinterpret_cast<char*>(0x300000000000 + mapping * 16 * kPageSize + page * kPageSize);
}
char* map(std::size_t mapping, int protection, int file, off_t offset = 0) {
  const int flags = MAP_PRIVATE | MAP_FIXED | (file < 0 ? MAP_ANONYMOUS : 0);
  return static_cast<char*>(::mmap(place(mapping), kLength, protection, flags, file, offset));
}
bool is_elf(const char* text) {
  return std::memcmp(text,
                     "\x7f"
                     "ELF",
                     4) == 0;
}

void map_all() {
  const int file = ::open("/proc/self/exe", O_RDONLY);
  for (std::size_t i = 0; i < kMappings; ++i)
    map(i, i % 2 == 0 ? PROT_READ : PROT_READ | PROT_WRITE, i % 4 == 3 ? -1 : file);
  ::close(file);
  place(1)[kPageSize] = 'P';  // of a file's private mapping
  place(3)[0] = 'Q';          // of no file
}

bool is_there(const char* page) {
  unsigned char resident = 0;
  return ::mincore(const_cast<char*>(page), kPageSize, &resident) == 0;
}
bool can_be_written(const char* page) {
  // The kernel reads nothing into what cannot be written.
  const int zero = ::open("/dev/zero", O_RDONLY);
  const auto before = *page;
  const bool read = ::read(zero, const_cast<char*>(page), 1) == 1;
  if (read) *const_cast<char*>(page) = before;
  ::close(zero);
  return read;
}

void what_all_have() {
  HOLDS(is_elf(place(8)) && is_elf(place(9)) && place(11)[5] == 0);
  HOLDS(place(1)[kPageSize] == 'P' && is_elf(place(1)) && place(3)[0] == 'Q');
  HOLDS(!can_be_written(place(8)) && can_be_written(place(9)));
}

struct Difference {
  void (*make)();
  void (*check)();
};
const Difference kDifferences[] = {
    {[] {}, [] { HOLDS(is_elf(place(20)) && is_there(place(21)) && place(23)[0] == 0); }},
    {[] { place(21)[2 * kPageSize] = 'x'; },
     [] { HOLDS(place(21)[2 * kPageSize] == 'x' && is_elf(place(21))); }},
    {[] { ::mprotect(place(21), kLength, PROT_READ); },
     [] { HOLDS(is_elf(place(21)) && !can_be_written(place(21))); }},
    {[] { ::munmap(place(20), kLength); }, [] { HOLDS(!is_there(place(20)) && is_there(place(21))); }},
    {[] { ::munmap(place(20, 1), kPageSize); },
     [] { HOLDS(is_elf(place(20)) && !is_there(place(20, 1)) && is_there(place(20, 2))); }},
    {[] {
       map(20, PROT_READ | PROT_WRITE, -1);
       place(20)[7] = 'y';
     },
     [] { HOLDS(place(20)[7] == 'y' && place(20)[0] == 0); }},
    {[] {
       ::mprotect(place(22), kLength, PROT_READ | PROT_WRITE);
       place(22)[9] = 'z';
       ::mprotect(place(22), kLength, PROT_READ);
     },
     [] { HOLDS(is_elf(place(22)) && place(22)[9] == 'z' && !can_be_written(place(22))); }},
    {[] { ::madvise(place(23), kLength, MADV_DONTFORK), ::mlock(place(21), kLength); },
     [] { HOLDS(place(23)[0] == 0 && is_elf(place(21))); }},
};

// Ends with its parent.
[[noreturn]] void go_on(pid_t parent, void (*check)()) {
  for (;;) {
    what_all_have();
    if (check != nullptr) check();
    if (::getppid() != parent) ::_exit(0);
    board().counter.fetch_add(1);
    rest();
  }
}

// Each in one of the ways, every tenth also as the parent of another one.
void fork_all() {
  map_all();
  const pid_t parent = ::getpid();
  for (std::size_t i = 0; i < kChildren; ++i) {
    if (::fork() != 0) continue;
    const auto& difference = kDifferences[i % std::size(kDifferences)];
    const pid_t self = ::getpid();
    if (i == 7) ::munmap(place(28), kLength);  // which all others have
    if (i % 10 == 9 && ::fork() == 0) {
      difference.make();
      go_on(self, difference.check);
    }
    if (i % 10 != 9) difference.make();
    go_on(parent, i % 10 != 9 ? difference.check : nullptr);
  }
}

TEST_F(ForkedProcesses, DifferFromTheirParent) {
  Subject subject(fork_all, what_all_have);
  std::vector<pid_t> all;
  ASSERT_TRUE(eventually([&] {
    all = os::process_tree(subject.pid()).value_or(std::vector<pid_t>());
    return all.size() == 1 + kChildren + kChildren / 10;
  })) << all.size();
  for (const pid_t pid : all) ASSERT_TRUE(moves(pid)) << pid;
  ASSERT_TRUE(carry(subject));
  for (const pid_t pid : all) {
    EXPECT_TRUE(moves(pid)) << pid;
    EXPECT_EQ(peek(pid, 8), 0U) << "process " << pid << " complains at that line";
  }
}

// Among them are some that run another program.
TEST_F(ForkedProcesses, RunOtherPrograms) {
  Subject subject(
      [] {
        fork_all();
        for (int i = 0; i < 3; ++i) {
          if (::fork() != 0) continue;
          ::prctl(PR_SET_PDEATHSIG, SIGKILL);
          ::execl("/bin/sleep", "sleep", "1000", nullptr);
          ::_exit(1);
        }
      },
      what_all_have);
  const auto programs = [&] {
    std::multiset<std::string> found;
    for (const pid_t pid : os::process_tree(subject.pid()).value_or(std::vector<pid_t>())) {
      auto link = os::read_link(fmt::format("/proc/{}/exe", pid)).value_or("");
      found.insert(link.substr(link.rfind('/') + 1));
    }
    return found;
  };
  std::multiset<std::string> before;
  ASSERT_TRUE(eventually([&] {
    before = programs();
    return before.count("sleep") == 3 && before.size() == 1 + kChildren + kChildren / 10 + 3;
  })) << before.size();
  ASSERT_TRUE(carry(subject));
  EXPECT_EQ(programs(), before);
  for (const pid_t pid : os::process_tree(subject.pid()).value_or(std::vector<pid_t>())) {
    const bool has_no_board = peek(pid) == ~0ULL;
    EXPECT_TRUE(has_no_board || peek(pid, 8) == 0)
        << "process " << pid << " complains at line " << peek(pid, 8);
  }
}

// A group of tasks that may not become many, for whoever is in it.
class FewTasks {
 public:
  explicit FewTasks(int most) {
    const bool first_version = os::exists("/sys/fs/cgroup/pids/cgroup.procs");
    path_ = fmt::format("/sys/fs/cgroup/{}upkeep-test-{}", first_version ? "pids/" : "", ::getpid());
    ::mkdir(path_.c_str(), 0755);
    there_ = bool(os::write_value(path_ + "/pids.max", std::to_string(most)));
  }
  FewTasks(const FewTasks&) = delete;
  ~FewTasks() {
    eventually([&] { return ::rmdir(path_.c_str()) == 0 || errno == ENOENT; });
  }
  bool there() const { return there_; }
  bool enter() const { return bool(os::write_value(path_ + "/cgroup.procs", "0")); }

 private:
  std::string path_;
  bool there_ = false;
};

TEST_F(ForkedProcesses, NothingIsLeftWhereNotAllCanBeMade) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it saves and restores by itself");
  const FewTasks group(20);
  if (!group.there()) GTEST_SKIP() << "needs cgroups that limit tasks";
  Subject subject(fork_all, what_all_have);
  ASSERT_TRUE(eventually([&] { return moves(subject.pid()); }));
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_OK(saved);
  ASSERT_TRUE(are_gone(saved->pids));
  auto restorer = os::fork_child([&]() -> int {
    if (!group.enter()) return 2;
    const auto restored = restore_trees(images(), false);
    return !restored && restored.error().message().find("clone3") != std::string::npos ? 0 : 1;
  });
  ASSERT_OK(restorer);
  auto ended = os::wait_child(*restorer, std::chrono::seconds(60));
  ASSERT_OK(ended);
  EXPECT_EQ(ended->code(), 0);
  EXPECT_TRUE(are_gone(saved->pids));
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
}

}  // namespace
}  // namespace upkeep::engine
