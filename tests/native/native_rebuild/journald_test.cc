// Streams to systemd-journald, in a mount namespace of the test's own whose /run and /var/log are empty: the
// real journald, and one whose part the test plays.

#include <linux/kcmp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/carry_set.h"
#include "engine/engine.h"
#include "fixture.h"
#include "os/namespace.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kStdout = "/run/systemd/journal/stdout";
constexpr const char* kProgram = "/lib/systemd/systemd-journald";
constexpr std::string_view kHeader = "the \\ identifier\nupkeep-test.service\n30\n1\n0\n0\n0\n";

sockaddr_un address(std::string_view path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  return name;
}

int connect_to(const char* path, int type) {
  const int fd = ::socket(AF_UNIX, type, 0);
  const auto name = address(path);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0) ::_exit(1);
  return fd;
}

// As systemd does it for the program that a unit starts: 3 is the stream, 4 the same description.
void connect_as_systemd() {
  connect_to(kStdout, SOCK_STREAM);
  ::shutdown(3, SHUT_RD);
  const int size = 8 << 20;
  ::setsockopt(3, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  (void)!::write(3, kHeader.data(), kHeader.size());
  ::dup2(3, 4);
}

// Writes the line whose number value 0 says, then sets that to zero. A write that fails is seen in value 1.
void write_line() {
  const auto number = board().value[0].load();
  if (number == 0) return;
  const auto line = fmt::format("line {}\n", number);
  if (::write(number % 2 == 0 ? 3 : 4, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    board().value[1] = static_cast<std::uint64_t>(errno);
  board().value[0] = 0;
}

::testing::AssertionResult writes(pid_t pid, std::uint64_t number) {
  if (!poke(pid, 1, number)) return ::testing::AssertionFailure() << "it is gone";
  if (!eventually([&] { return peek(pid, 1) == 0; })) return ::testing::AssertionFailure() << "it hangs";
  if (peek(pid, 2) != 0)
    return ::testing::AssertionFailure() << "write: " << std::strerror(static_cast<int>(peek(pid, 2)));
  return ::testing::AssertionSuccess();
}

class Journald : public TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (IsSkipped()) return;
    SKIP_WHERE_THE_MACHINE_CARRIES("it is journald itself; units' streams to the real one go across");
    auto home = os::open_namespace(0, "mnt");
    ASSERT_OK(home);
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    home_ = std::move(*home);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    auto mounts = os::read_mountinfo(0);
    ASSERT_OK(mounts);
    for (auto mount = mounts->rbegin(); mount != mounts->rend(); ++mount) {
      if (mount->mount_point.starts_with("/run/")) ::umount2(mount->mount_point.c_str(), MNT_DETACH);
    }
    for (const char* folder : {"/run", "/var/log"})
      ASSERT_EQ(::mount("test", folder, "tmpfs", 0, "mode=755"), 0) << folder;
    ASSERT_TRUE(os::make_directories("/run/systemd/journal/streams"));
  }
  void TearDown() override {
    end_journald();
    if (!home_.valid()) return;
    ASSERT_EQ(::setns(home_.get(), CLONE_NEWNS), 0);
  }

  static os::UniqueFd listen(const char* path, int type) {
    os::UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    const auto name = address(path);
    const int on = 1;
    ::unlink(path);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0) return {};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    if (type == SOCK_STREAM) ::listen(fd.get(), 4096);
    return fd;
  }

  // SOCKETS: what PID 1 would hand it, if anything.
  void start_journald(const std::vector<int>& sockets = {}) {
    if (!os::exists(kProgram)) GTEST_SKIP() << "needs " << kProgram;
    ASSERT_TRUE(os::make_directories("/run/systemd/journald.conf.d"));
    ASSERT_TRUE(os::replace_file("/run/systemd/journald.conf.d/test.conf",
                                 "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\n"
                                 "ForwardToWall=no\n"));
    auto child = os::fork_child([&] {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      int next = 100;
      for (int fd : sockets) ::dup2(fd, next++);
      for (int fd = 3; next > 100; ++fd) ::dup2(--next, fd);
      if (!sockets.empty()) {
        ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
        ::setenv("LISTEN_FDS", std::to_string(sockets.size()).c_str(), 1);
      }
      ::execl(kProgram, kProgram, nullptr);
      return 127;
    });
    ASSERT_OK(child);
    journald_ = std::move(*child);
    ASSERT_TRUE(eventually([] { return os::exists(kStdout); }));
  }
  void end_journald() {
    if (!journald_) return;
    ::kill(journald_->pid, SIGTERM);
    if (!os::wait_child(*journald_, std::chrono::seconds(20))) {
      ::kill(journald_->pid, SIGKILL);
      (void)os::wait_child(*journald_, std::chrono::seconds(20));
    }
    journald_.reset();
  }

  // "PID identifier unit priority: message" of each line that came through a stream.
  static std::vector<std::string> journal() {
    auto text = os::run_checked({"journalctl", "-D", "/run/log/journal", "-o", "json", "_TRANSPORT=stdout"});
    std::vector<std::string> lines;
    std::string_view rest = text ? std::string_view(*text) : "";
    while (!rest.empty()) {
      const auto line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      const auto entry = nlohmann::json::parse(line, nullptr, false);
      if (!entry.is_object()) continue;
      auto field = [&](const char* name) { return entry.value(name, std::string("-")); };
      lines.push_back(fmt::format("{} {} {} {}: {}", field("_PID"), field("SYSLOG_IDENTIFIER"),
                                  field("_SYSTEMD_UNIT"), field("PRIORITY"), field("MESSAGE")));
    }
    return lines;
  }

  std::optional<os::Child> journald_;

 private:
  os::UniqueFd home_;
};

// What a stream's other end gets, with the process that sent it: "812: text".
class StandIn {
 public:
  explicit StandIn(os::Fd listener) : fd_(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)) {
    struct stat status = {};
    ::fstat(fd_.get(), &status);
    file_ = fmt::format("/run/systemd/journal/streams/{}:{}", status.st_dev, status.st_ino);
    ::shutdown(fd_.get(), SHUT_WR);
    const timeval limit = {20, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  void knows(const std::string& text) const { ASSERT_TRUE(os::replace_file(file_, text)); }
  std::string next() const {
    std::array<char, 4096> text = {};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control = {};
    iovec area = {text.data(), text.size()};
    msghdr message = {};
    message.msg_iov = &area;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(fd_.get(), &message, 0);
    if (size <= 0) return size == 0 ? "the end" : std::strerror(errno);
    ucred sender = {};
    if (auto* part = CMSG_FIRSTHDR(&message); part != nullptr && part->cmsg_type == SCM_CREDENTIALS)
      std::memcpy(&sender, CMSG_DATA(part), sizeof sender);
    return fmt::format("{}: {}", sender.pid, std::string_view(text.data(), static_cast<std::size_t>(size)));
  }
  // Nothing else of it is there: the other end has been closed.
  bool at_end() const { return next() == "the end"; }

 private:
  os::UniqueFd fd_;
  std::string file_;
};

constexpr const char* kState =
    "# This is private data. Do not parse\nPRIORITY=30\nLEVEL_PREFIX=1\nFORWARD_TO_SYSLOG=0\n"
    "FORWARD_TO_KMSG=0\nFORWARD_TO_CONSOLE=0\nSTREAM_ID=fe1\nIDENTIFIER=the \\\\ identifier\n"
    "UNIT=upkeep-test.service\n";

// The header anew, from root; then lines, each from the program itself.
TEST_F(Journald, IsToldWhatItWasToldTheFirstTime) {
  const auto listener = listen(kStdout, SOCK_STREAM);
  ASSERT_TRUE(listener.valid());
  Subject subject(
      [] {
        connect_as_systemd();
        ::fcntl(3, F_SETFL, O_NONBLOCK);
      },
      [] {
        write_line();
        char byte = 0;
        HOLDS(::recv(3, &byte, 1, 0) == 0);
        HOLDS((::fcntl(3, F_GETFL) & O_NONBLOCK) != 0);
        int size = 0;
        socklen_t length = sizeof size;
        HOLDS(::getsockopt(3, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size == 16 << 20);
        sockaddr_un name = {};
        length = sizeof name;
        HOLDS(::getpeername(3, reinterpret_cast<sockaddr*>(&name), &length) == 0);
        HOLDS(std::strcmp(name.sun_path, kStdout) == 0);
      });
  const StandIn before(listener);
  before.knows(kState);
  ASSERT_EQ(before.next(), fmt::format("{}: {}", subject.pid(), kHeader));
  ASSERT_TRUE(carry(subject));
  EXPECT_TRUE(before.at_end());
  const StandIn after(listener);
  EXPECT_EQ(after.next(), fmt::format("{}: {}", ::getpid(), kHeader));
  ASSERT_TRUE(writes(subject.pid(), 1));
  EXPECT_EQ(after.next(), fmt::format("{}: line 1\n", subject.pid()));
  ASSERT_TRUE(writes(subject.pid(), 2));
  EXPECT_EQ(after.next(), fmt::format("{}: line 2\n", subject.pid()));
  EXPECT_EQ(::syscall(SYS_kcmp, subject.pid(), subject.pid(), KCMP_FILE, 3, 4), 0) << "two descriptions";
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Journald, AForeignerOfItsNameIsRefused) {
  const auto listener = listen(kStdout, SOCK_STREAM);
  Subject subject([] { connect_as_systemd(); });
  const StandIn foreigner(listener);
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("systemd-journald keeps nothing about it"));
  EXPECT_TRUE(moves(subject.pid()));
  foreigner.knows("PRIORITY=many\n");
  saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("PRIORITY: 'many' is not a number"));
}

// What has been written and not read is in nobody's hands: it would be lost with the kernel.
TEST_F(Journald, ThatDoesNotReadIsRefused) {
  const auto listener = listen(kStdout, SOCK_STREAM);
  Subject subject([] { connect_as_systemd(); });
  const StandIn stuck(listener);
  stuck.knows(kState);
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("has not been read there"));
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_FALSE(os::exists(images()));
}

TEST_F(Journald, ThatIsNotThereAnyMoreIsNamed) {
  auto listener = listen(kStdout, SOCK_STREAM);
  Subject subject([] { connect_as_systemd(); }, write_line);
  {
    const StandIn before(listener);
    before.knows(kState);
    ASSERT_NE(before.next(), "the end");
    ASSERT_OK(save_trees({subject.pid()}, images(), false));
  }
  listener.reset();
  for (const bool file : {true, false}) {
    if (!file) ::unlink(kStdout);
    auto restored = restore_trees(images(), false);
    ASSERT_FALSE(restored);
    EXPECT_THAT(restored.error().message(), HasSubstr("nobody listens to /run/systemd/journal/stdout"));
    EXPECT_FALSE(subject.alive());
  }
  listener = listen(kStdout, SOCK_STREAM);
  ASSERT_OK(restore_trees(images(), false));
  ASSERT_TRUE(writes(subject.pid(), 3));
  const StandIn after(listener);
  EXPECT_EQ(after.next(), fmt::format("{}: {}", ::getpid(), kHeader));
  EXPECT_EQ(after.next(), fmt::format("{}: line 3\n", subject.pid()));
}

// As a service has it whose root is another folder: systemd has made the connection for it.
TEST_F(Journald, WhoeverDoesNotSeeItsNameIsConnectedAllTheSame) {
  const auto listener = listen(kStdout, SOCK_STREAM);
  Subject subject(
      [] {
        connect_as_systemd();
        if (::unshare(CLONE_NEWNS) < 0 || ::mount("own", "/run", "tmpfs", 0, "mode=755") < 0) ::_exit(1);
      },
      [] {
        write_line();
        HOLDS(::access(kStdout, F_OK) < 0);
      });
  const StandIn before(listener);
  before.knows(kState);
  ASSERT_NE(before.next(), "the end");
  ASSERT_TRUE(carry(subject));
  const StandIn after(listener);
  EXPECT_EQ(after.next(), fmt::format("{}: {}", ::getpid(), kHeader));
  ASSERT_TRUE(writes(subject.pid(), 1));
  EXPECT_EQ(after.next(), fmt::format("{}: line 1\n", subject.pid()));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Journald, TheRealOneGoesOnUnderUnitAndIdentifier) {
  start_journald();
  if (IsSkipped()) return;
  Subject subject(connect_as_systemd, write_line);
  ASSERT_TRUE(eventually([] { return !os::list_directory("/run/systemd/journal/streams")->empty(); }));
  for (std::uint64_t number = 1; number <= 3; ++number) {
    ASSERT_TRUE(writes(subject.pid(), number));
    // journald accepts it in its own time.
    ASSERT_TRUE(eventually([&] {
      const auto seen = inspect_trees({subject.pid()}, false);
      return seen && seen->snapshot.obstacles.empty();
    }));
    ASSERT_TRUE(carry(subject)) << "round " << number;
  }
  ASSERT_TRUE(writes(subject.pid(), 4));
  ASSERT_TRUE(eventually([] { return journal().size() >= 4; }));
  auto line = [&](int number) {
    return fmt::format("{} the \\ identifier upkeep-test.service 6: line {}", subject.pid(), number);
  };
  EXPECT_THAT(journal(), ElementsAre(line(1), line(2), line(3), line(4)));
}

// As in a new kernel: the name is there before journald is, which gets the listening socket later. What has
// been written meanwhile arrives.
TEST_F(Journald, TheRealOneComesLater) {
  start_journald();
  if (IsSkipped()) return;
  Subject subject(connect_as_systemd, write_line);
  ASSERT_TRUE(eventually([] { return !os::list_directory("/run/systemd/journal/streams")->empty(); }));
  ASSERT_TRUE(writes(subject.pid(), 1));
  ASSERT_TRUE(eventually([] { return journal().size() == 1; }));
  ASSERT_OK(save_trees({subject.pid()}, images(), false));
  end_journald();
  ASSERT_TRUE(os::remove_tree("/run/systemd"));
  ASSERT_TRUE(os::make_directories("/run/systemd/journal"));
  auto stream = listen(kStdout, SOCK_STREAM);
  ASSERT_OK(restore_trees(images(), false));
  ASSERT_TRUE(writes(subject.pid(), 2));
  ASSERT_TRUE(writes(subject.pid(), 3));
  start_journald({stream.get()});
  stream.reset();
  ASSERT_TRUE(eventually([] { return journal().size() >= 3; }));
  ASSERT_TRUE(writes(subject.pid(), 4));
  ASSERT_TRUE(eventually([] { return journal().size() >= 4; }));
  auto line = [&](int number) {
    return fmt::format("{} the \\ identifier upkeep-test.service 6: line {}", subject.pid(), number);
  };
  EXPECT_THAT(journal(), ElementsAre(line(1), line(2), line(3), line(4)));
  ASSERT_TRUE(carry(subject)) << "a second time";
  ASSERT_TRUE(writes(subject.pid(), 5));
  ASSERT_TRUE(eventually([] { return journal().size() >= 5; }));
  EXPECT_EQ(journal().back(), line(5));
}

// Behind the seam: before systemd there is nobody else to do it.
TEST_F(Journald, WhoeverRestoresIsAskedToListen) {
  auto listener = listen(kStdout, SOCK_STREAM);
  Subject subject([] { connect_as_systemd(); }, write_line);
  {
    const StandIn before(listener);
    before.knows(kState);
    ASSERT_NE(before.next(), "the end");
    auto set = collect({subject.pid()});
    ASSERT_OK(set);
    ASSERT_TRUE(os::make_directories(images(), 0700));
    auto image = ImageWriter::create(images());
    ASSERT_OK(image);
    auto still = StoppedSet::stop(set->roots());
    ASSERT_OK(still);
    ASSERT_OK(still->save(*image, Durability::in_memory));
    ::kill(subject.pid(), SIGKILL);
  }
  ASSERT_TRUE(
      eventually([&] { return ::waitpid(subject.pid(), nullptr, WNOHANG) != 0 && !subject.alive(); }));
  listener.reset();
  const auto loaded = LoadedSet::load(images());
  ASSERT_OK(loaded);
  EXPECT_TRUE(loaded->wants_journald());
  EXPECT_FALSE(loaded->make()) << "nobody listens";
  EXPECT_FALSE(subject.alive());
  listener = listen(kStdout, SOCK_STREAM);
  auto made = loaded->make();
  ASSERT_OK(made);
  ASSERT_OK(made->release());
  ASSERT_TRUE(writes(subject.pid(), 1));
  const StandIn after(listener);
  EXPECT_EQ(after.next(), fmt::format("{}: {}", ::getpid(), kHeader));
  EXPECT_EQ(after.next(), fmt::format("{}: line 1\n", subject.pid()));
}

}  // namespace
}  // namespace upkeep::engine
