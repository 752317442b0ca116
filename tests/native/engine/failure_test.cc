// Whatever goes wrong before the jump: every task runs on.

#include <fcntl.h>
#include <sys/fanotify.h>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using Undo = EngineTest;

TEST_F(Undo, BrokenOffBeforeStopping) {
  Subject subject;
  {
    const auto image = ImageWriter::create(images_);
    ASSERT_OK(image);
  }
  EXPECT_TRUE(moves(subject.pid()));
}

// As when the network cannot be closed, or the time for it is over.
TEST_F(Undo, BrokenOffBetweenStoppingAndSaving) {
  Subject first, second;
  {
    const auto still = StoppedSet::stop({first.pid(), second.pid()});
    ASSERT_OK(still);
    EXPECT_TRUE(stands_still(first.pid()));
    EXPECT_TRUE(stands_still(second.pid()));
  }
  EXPECT_TRUE(moves(first.pid()));
  EXPECT_TRUE(moves(second.pid()));
  EXPECT_TRUE(carry({&first, &second}));
}

// What is not carried is named, and everything runs on.
TEST_F(Undo, ErrorWhileSaving) {
  Subject first, second([] { (void)::fanotify_init(FAN_CLASS_NOTIF, O_RDONLY); });
  auto image = ImageWriter::create(images_);
  ASSERT_OK(image);
  {
    auto still = StoppedSet::stop({first.pid(), second.pid()});
    ASSERT_OK(still);
    const auto saved = still->save(*image, Durability::in_memory);
    ASSERT_FALSE(saved);
    EXPECT_NE(saved.error().message().find(fmt::format("process {}, ", second.pid())), std::string::npos)
        << saved.error().message();
    EXPECT_TRUE(stands_still(first.pid()));
  }
  EXPECT_TRUE(moves(first.pid()));
  EXPECT_TRUE(moves(second.pid()));
  EXPECT_FALSE(LoadedSet::load(images_)) << "an image that is not complete is none";
}

TEST_F(Undo, NoPlaceForTheImages) {
  Subject subject;
  images_ = folder_.path() + "/images/file";
  ASSERT_TRUE(os::replace_file(images_, "in the way"));
  auto still = snapshot({subject.pid()});
  ASSERT_FALSE(still);
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Undo, UpkeepKilled) {
  Subject subject;
  auto upkeep = os::fork_child([&]() -> int {
    auto still = snapshot({subject.pid()});
    if (!still) return 1;
    for (;;) ::pause();
  });
  ASSERT_OK(upkeep);
  ASSERT_TRUE(eventually([&] { return stands_still(subject.pid()); }));
  ::kill(upkeep->pid, SIGKILL);
  auto status = os::wait_child(*upkeep, std::chrono::seconds(5));
  ASSERT_OK(status);
  EXPECT_EQ(status->signal(), SIGKILL);
  EXPECT_TRUE(moves(subject.pid()));
}

// As by the supervisor, when the deadline is over.
TEST_F(Undo, UpkeepKilledWhenParked) {
  Subject subject, second;
  auto upkeep = os::fork_child([&]() -> int {
    const auto still = StoppedSet::stop({subject.pid(), second.pid()});
    if (still) ::raise(SIGKILL);
    return 1;
  });
  ASSERT_OK(upkeep);
  auto status = os::wait_child(*upkeep, std::chrono::seconds(20));
  ASSERT_OK(status);
  EXPECT_EQ(status->signal(), SIGKILL);
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_TRUE(moves(second.pid()));
}

class BadImages : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto still = snapshot({subject_.pid()});
    ASSERT_OK(still);
    ::kill(subject_.pid(), SIGKILL);
    { const auto let_go = std::move(*still); }
    subject_.end();
  }
  Subject subject_;
};

TEST_F(BadImages, PidTaken) {
  ASSERT_OK(restore());
  ASSERT_TRUE(moves(subject_.pid()));
  auto restored = restore();
  ASSERT_FALSE(restored);
  EXPECT_NE(restored.error().message().find("is taken by"), std::string::npos) << restored.error().message();
  EXPECT_TRUE(moves(subject_.pid())) << "whoever has the PID is left alone";
}

TEST_F(BadImages, HostileManifest) {
  for (const char* text : {"", "{}", "[1, 2]", "{\"version\": 1}"}) {
    ASSERT_TRUE(os::replace_file(images_ + "/manifest.json", text, 0600));
    EXPECT_FALSE(LoadedSet::load(images_)) << text;
  }
  EXPECT_FALSE(subject_.alive());
}

}  // namespace
}  // namespace upkeep::engine
