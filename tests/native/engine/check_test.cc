// check() on real tasks: silent about what is carried, and by name about what is not.

#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <linux/io_uring.h>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

class Check : public EngineTest {
 protected:
  std::vector<Finding> refusals(pid_t pid, pid_t lowest = 1) {
    auto set = collect({pid});
    EXPECT_TRUE(set);
    std::vector<Finding> result;
    for (auto& finding : engine_->check(*set, {lowest, ""})) {
      if (finding.severity == Finding::Severity::refusal) result.push_back(std::move(finding));
    }
    return result;
  }
  // Refused for a reason that has WORDS in it, and criu does refuse it, too.
  void expect_refused(const Subject& subject, const std::string& words) {
    auto found = refusals(subject.pid());
    ASSERT_FALSE(found.empty()) << words;
    bool named = false;
    for (const auto& finding : found) named |= finding.why.find(words) != std::string::npos;
    EXPECT_TRUE(named) << found.front().what << ": " << found.front().why;
    EXPECT_TRUE(moves(subject.pid()));  // nothing was stopped for it
  }
};

TEST_F(Check, NothingAgainstASimpleTask) {
  Subject subject;
  auto found = refusals(subject.pid());
  EXPECT_TRUE(found.empty()) << found.front().what << ": " << found.front().why;
}

TEST_F(Check, LowPid) {
  Subject subject;
  auto found = refusals(subject.pid(), subject.pid() + 1);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NE(found.front().why.find("so low"), std::string::npos);
}

TEST_F(Check, UnixStreamToOutside) {
  Folder folder;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s/stream", folder.path().c_str());
  os::UniqueFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(server.get(), 1), 0);
  Subject subject([&] {
    int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address);
  });
  expect_refused(subject, "waits for a server");
  os::UniqueFd accepted(::accept(server.get(), nullptr, nullptr));
  expect_refused(subject, "Unix stream to");
  auto still = snapshot({subject.pid()});  // criu says the same
  ASSERT_FALSE(still);
  EXPECT_NE(still.error().message().find("stream socket leads to a program that is not carried"),
            std::string::npos)
      << still.error().message();
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Check, PairInsideIsFine) {
  Subject subject([] {
    int pair[2];
    ::socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    ::eventfd(3, 0);
    (void)!::pipe(pair);
  });
  EXPECT_TRUE(refusals(subject.pid()).empty());
  EXPECT_TRUE(carry({&subject}));
}

TEST_F(Check, PipeToOutside) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  os::UniqueFd read(ends[0]), write(ends[1]);
  const std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(ends[1]);
  Subject subject([&] { (void)::open(path.c_str(), O_WRONLY); });
  expect_refused(subject, "is a pipe that");
}

TEST_F(Check, IoUring) {
  Subject subject([] {
    io_uring_params parameters = {};
    board().value[0] = ::syscall(SYS_io_uring_setup, 4, &parameters) >= 0 ? 1 : 2;
  });
  if (peek(subject.pid(), 1) != 1) GTEST_SKIP() << "no io_uring on this kernel";
  expect_refused(subject, "io_uring");
}

TEST_F(Check, NamespacesOfItsOwn) {
  for (auto [flag, words] :
       {std::pair{CLONE_NEWNS, "mount namespace"}, std::pair{CLONE_NEWNET, "network namespace"},
        std::pair{CLONE_NEWUTS, "host name namespace"}}) {
    Subject subject([flag = flag] { ::unshare(flag); });
    expect_refused(subject, words);
  }
}

TEST_F(Check, BlockDeviceAndForeignProc) {
  const pid_t self = ::getpid();
  Subject subject([self] { (void)::open(("/proc/" + std::to_string(self) + "/stat").c_str(), O_RDONLY); });
  expect_refused(subject, "of a process that is not in its tree");
}

TEST_F(Check, DisplacedFile) {
  const std::string path = folder_.path() + "/log";
  ASSERT_TRUE(os::replace_file(path, "old"));
  ASSERT_EQ(::link(path.c_str(), (path + ".1").c_str()), 0);
  Subject subject([&] { (void)::open(path.c_str(), O_RDONLY); });
  ASSERT_TRUE(os::replace_file(path, "new"));
  // Still reachable by its other name, so criu finds a way: it links it again.
  EXPECT_TRUE(carry({&subject}));
}

TEST_F(Check, SaysWhereCriuIsMissing) {
  Subject subject;
  auto set = collect({subject.pid()});
  ASSERT_OK(set);
  auto engine = criu::make_engine({{{"/nonexistent/criu"}, ""}, folder_.path() + "/work", "/sys/fs/cgroup"});
  auto found = engine->check(*set, {1, ""});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.front().severity, Finding::Severity::refusal);
  EXPECT_EQ(found.front().why, "criu: criu could not be started");
}

}  // namespace
}  // namespace upkeep::engine
