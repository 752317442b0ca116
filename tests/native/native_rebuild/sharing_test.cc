// Processes that are no threads of each other and have something in common all the same.

#include <sched.h>

#include "fixture.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

using Sharing = TreeTest;

constexpr std::size_t kStack = 64U << 10U;

// Ends with the one who has made it. Value 0 says that it is there.
int be_there(void*) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  board().value[0] = static_cast<std::uint64_t>(::syscall(SYS_getpid));
  for (;;) ::syscall(SYS_pause);
}
pid_t clone_one(int flags) {
  auto* stack =
      static_cast<char*>(::mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  return ::clone(be_there, stack + kStack, flags | SIGCHLD, nullptr);
}

std::string refusal(const std::vector<pid_t>& roots, const std::string& images) {
  auto saved = save_trees(roots, images, false);
  return saved ? "it was taken" : saved.error().message();
}

TEST_F(Sharing, WithAChildIsRefused) {
  const std::pair<int, const char*> kinds[] = {
      {CLONE_VM, "address space"}, {CLONE_FILES, "table of descriptors"}, {CLONE_FS, "CLONE_FS"}};
  for (const auto& [flag, name] : kinds) {
    Subject subject([flag = flag] { board().value[1] = static_cast<std::uint64_t>(clone_one(flag)); });
    const auto why = refusal({subject.pid()}, images());
    EXPECT_THAT(why, HasSubstr(name));
    EXPECT_THAT(why, HasSubstr(fmt::format("process {}, ", peek(subject.pid(), 2))));
    EXPECT_THAT(why, HasSubstr(fmt::format("shared with process {}", subject.pid())));
    EXPECT_THAT(why, HasSubstr("end one of them"));
    EXPECT_TRUE(moves(subject.pid()));
  }
}

// The one who has made it is not its parent.
TEST_F(Sharing, WithASiblingIsRefused) {
  Subject subject([] {
    if (::fork() != 0) return;
    const pid_t parent = ::getppid();
    clone_one(CLONE_VM | CLONE_PARENT);
    for (;; ::poll(nullptr, 0, 5)) {
      board().counter.fetch_add(1);
      if (::getppid() != parent) ::_exit(0);
    }
  });
  ASSERT_TRUE(eventually([&] { return os::process_tree(subject.pid())->size() == 3; }));
  EXPECT_THAT(refusal({subject.pid()}, images()), HasSubstr("address space: shared with process"));
  EXPECT_TRUE(moves(subject.pid()));
  for (const pid_t pid : *os::process_tree(subject.pid())) {
    if (pid != subject.pid()) ::kill(pid, SIGKILL);
  }
}

TEST_F(Sharing, WithSomebodyOutsideIsRefused) {
  Subject subject([] { clone_one(CLONE_VM); });
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 1) != 0; }));
  const auto child = static_cast<pid_t>(peek(subject.pid(), 1));
  const auto why = refusal({child}, images());
  EXPECT_THAT(why, HasSubstr(fmt::format("shared with process {} (", subject.pid())));
  EXPECT_THAT(why, HasSubstr("not part of the tree"));
  EXPECT_TRUE(moves(subject.pid()));
}

// Its parent waits until the program is started, and cannot be stopped until then.
TEST_F(Sharing, InVforkIsRefusedForNow) {
  Subject subject([] {
    if (::fork() != 0) return;
    const pid_t parent = ::getppid();
    clone_one(CLONE_VM | CLONE_VFORK);
    for (;; ::poll(nullptr, 0, 5)) {
      if (::getppid() != parent) ::_exit(0);
    }
  });
  ASSERT_TRUE(eventually([&] { return os::process_tree(subject.pid())->size() == 3; }));
  const auto tree = *os::process_tree(subject.pid());
  const auto waiting = tree[1];
  ASSERT_TRUE(eventually([&] { return os::read_stat(waiting) && os::read_stat(waiting)->state == 'D'; }));
  EXPECT_THAT(refusal({subject.pid()}, images()),
              HasSubstr(fmt::format("try again: process {} is starting a program", waiting)));
  EXPECT_TRUE(moves(subject.pid()));
  ::kill(tree[2], SIGKILL);
  ::kill(waiting, SIGKILL);
}

// One that is about to end has let go of what it shared.
TEST_F(Sharing, ThreadsThatEndAreNoObstacle) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it only looks");
  Subject subject({}, [] {
    for (int i = 0; i < 20; ++i) std::thread([] {}).join();
  });
  for (int look = 0; look < 100; ++look) {
    const auto seen = inspect_trees({subject.pid()}, false);
    ASSERT_OK(seen);
    ASSERT_TRUE(seen->snapshot.obstacles.empty())
        << seen->snapshot.obstacles.front().what << ": " << seen->snapshot.obstacles.front().why;
  }
}

}  // namespace
}  // namespace upkeep::engine
