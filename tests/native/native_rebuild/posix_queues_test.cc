// POSIX message queues, in an IPC namespace of the test's own where no machine carries it.

#include <mqueue.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

class PosixQueues : public TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (IsSkipped()) return;
    if (!machine_carries()) {
      ASSERT_EQ(::unshare(CLONE_NEWIPC), 0);
    }
  }
};

// Those that a machine carries side by side live in one namespace.
const std::string own_name = fmt::format("/upkeep-test-{}", ::getpid());
const char* const kName = own_name.c_str();

// 3: for reading, does not wait; 4: for writing.
void open_queue() {
  mq_attr attributes = {};
  attributes.mq_maxmsg = 7, attributes.mq_msgsize = 100;
  HOLDS(::mq_open(kName, O_RDONLY | O_CREAT | O_EXCL | O_NONBLOCK, 0640, &attributes) == 3);
  HOLDS(::mq_open(kName, O_WRONLY) == 4 && ::fchown(3, 12, 13) == 0);
}

void queue_is_as_it_was() {
  mq_attr attributes = {};
  HOLDS(::mq_getattr(3, &attributes) == 0 && attributes.mq_maxmsg == 7 && attributes.mq_msgsize == 100);
  HOLDS(attributes.mq_flags == O_NONBLOCK && ::mq_getattr(4, &attributes) == 0 && attributes.mq_flags == 0);
  struct stat status = {};
  HOLDS(::fstat(4, &status) == 0 && (status.st_mode & 0777U) == 0640 && status.st_uid == 12 &&
        status.st_gid == 13);
  char text[100] = {};
  unsigned priority = 0;
  HOLDS(::mq_receive(3, text, sizeof text, nullptr) < 0 && errno == EAGAIN);
  HOLDS(::mq_receive(4, text, sizeof text, nullptr) < 0 && errno == EBADF);
  HOLDS(::mq_send(4, "later", 6, 1) == 0 && ::mq_send(4, "sooner", 7, 2) == 0);
  HOLDS(::mq_receive(3, text, sizeof text, &priority) == 7 && priority == 2);
  HOLDS(::mq_receive(3, text, sizeof text, &priority) == 6 && priority == 1);
}

// Messages are there for a moment only.
::testing::AssertionResult carried(TreeTest&, const std::function<::testing::AssertionResult()>& carry) {
  for (int tries = 0;; ++tries) {
    auto result = carry();
    if (result || tries == 50 ||
        std::string(result.message()).find("messages wait in it") == std::string::npos)
      return result;
  }
}

TEST_F(PosixQueues, ThatHasAName) {
  Subject subject(open_queue, queue_is_as_it_was);
  ASSERT_TRUE(carried(*this, [&] { return carry(subject); })) << "it was still there";
  EXPECT_NO_COMPLAINT(subject);
  if (machine_carries()) return;  // others have queues in the same namespace
  // As in another kernel, where there is none.
  std::vector<pid_t> pids;
  ASSERT_TRUE(carried(*this, [&]() -> ::testing::AssertionResult {
    (void)os::remove_tree(images());
    auto saved = save_trees({subject.pid()}, images(), false);
    if (!saved) return ::testing::AssertionFailure() << saved.error().message();
    return ::testing::AssertionSuccess();
  }));
  ASSERT_TRUE(eventually([&] { return ::waitpid(subject.pid(), nullptr, WNOHANG) > 0 || !subject.alive(); }));
  ASSERT_EQ(::mq_unlink(kName), 0);
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_EQ(::mq_unlink(kName), 0) << "it has its name again";
}

TEST_F(PosixQueues, AnotherOneOfItsNameIsNotTaken) {
  Subject subject([] { open_queue(); });
  ASSERT_OK(save_trees({subject.pid()}, images(), false));
  ASSERT_TRUE(eventually([&] { return ::waitpid(subject.pid(), nullptr, WNOHANG) > 0 || !subject.alive(); }));
  ASSERT_EQ(::mq_unlink(kName), 0);
  const int other = ::mq_open(kName, O_RDWR | O_CREAT | O_EXCL, 0600, nullptr);
  ASSERT_GE(other, 0);
  const auto failed = restore_trees(images(), false);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message(), HasSubstr("another queue has its name"));
  ::close(other);
  ASSERT_EQ(::mq_unlink(kName), 0);
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
}

// A process waits in it for what its child sends, and there is no name any more.
TEST_F(PosixQueues, ThatHasNoNameAnyMore) {
  Subject subject(
      [] {
        HOLDS(::mq_open(kName, O_RDWR | O_CREAT | O_EXCL, 0600, nullptr) == 3 && ::mq_unlink(kName) == 0);
        const pid_t parent = ::getpid();
        if (::fork() != 0) return;
        for (;; ::poll(nullptr, 0, 200)) {
          HOLDS(::mq_send(3, "x", 1, 0) == 0);
          board().value[1].fetch_add(1);
          if (::getppid() != parent) ::_exit(0);
        }
      },
      [] {
        std::array<char, 8192> text;
        HOLDS(::mq_receive(3, text.data(), text.size(), nullptr) == 1);
      });
  for (int round = 0; round < 2; ++round) ASSERT_TRUE(carried(*this, [&] { return carry(subject); }));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(PosixQueues, WhatCannotBeReadIsRefused) {
  Subject subject([] {
    open_queue();
    HOLDS(::mq_send(4, "", 0, 0) == 0);
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("messages wait in it"));
  EXPECT_TRUE(moves(subject.pid()));
  subject.end();
  ::mq_unlink(kName);
  Subject notified([] {
    open_queue();
    sigevent event = {};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR1;
    HOLDS(::mq_notify(3, &event) == 0);
  });
  saved = save_trees({notified.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(),
              HasSubstr(fmt::format("process {} has asked to be told", notified.pid())));
  EXPECT_TRUE(moves(notified.pid()));
  notified.end();
  ::mq_unlink(kName);
}

TEST_F(PosixQueues, ThatOthersHaveOpenIsRefused) {
  Subject subject([] { open_queue(); });
  Subject other([] { (void)::mq_open(kName, O_RDONLY); });
  const auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr(fmt::format("process {} (", other.pid())));
  EXPECT_TRUE(moves(subject.pid()));
  ::mq_unlink(kName);
}

// Made by somebody who has ended: in another kernel it is there again.
TEST_F(PosixQueues, ThatNobodyHasOpen) {
  const int queue = ::mq_open(kName, O_RDWR | O_CREAT | O_EXCL, 0604, nullptr);
  ASSERT_GE(queue, 0);
  ::close(queue);
  Subject subject;
  auto saved = inspect_trees({subject.pid()}, true);
  ASSERT_OK(saved);
  const auto& all = saved->snapshot.posix_queues;
  EXPECT_TRUE(machine_carries() || all.size() == 1U);  // in a machine others have some
  const auto ours = std::ranges::find(all, kName, &PosixQueue::name);
  ASSERT_NE(ours, all.end());
  EXPECT_EQ(ours->mode, 0604U);
  EXPECT_TRUE(carry(subject));
  EXPECT_EQ(::mq_unlink(kName), 0);
}

}  // namespace
}  // namespace upkeep::engine
