// Whatever goes wrong before the jump: every task runs on.

#include <fcntl.h>
#include <nlohmann/json.hpp>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using Undo = EngineTest;

TEST_F(Undo, ErrorBeforeStopping) {
  Subject subject;
  hooks_.on_ready = []() -> Result<void> { return Err("not now"); };
  auto still = snapshot({subject.pid()});
  ASSERT_FALSE(still);
  EXPECT_EQ(still.error().message(), "not now");
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Undo, ErrorWhenParked) {
  Subject first, second;
  hooks_.on_parked = []() -> Result<void> { return Err("the network cannot be closed"); };
  auto still = snapshot({first.pid(), second.pid()});
  ASSERT_FALSE(still);
  EXPECT_EQ(still.error().message(), "the network cannot be closed");
  EXPECT_TRUE(moves(first.pid()));
  EXPECT_TRUE(moves(second.pid()));
}

TEST_F(Undo, Cancelled) {
  Subject subject;
  bool cancel = false;
  hooks_.on_parked = [&]() -> Result<void> {
    cancel = true;
    return {};
  };
  hooks_.cancelled = [&] { return cancel; };
  auto still = snapshot({subject.pid()});
  if (!still) {
    EXPECT_EQ(still.error().code(), ECANCELED);
    EXPECT_TRUE(moves(subject.pid()));
  } else {
    EXPECT_TRUE(stands_still(subject.pid()));  // it was faster than the question
  }
}

TEST_F(Undo, DeadlineOver) {
  Subject first, second;
  auto set = collect({first.pid(), second.pid()});
  ASSERT_OK(set);
  hooks_.on_parked = []() -> Result<void> {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return {};
  };
  auto still = engine_->snapshot(*set, {images_, std::chrono::milliseconds(1)}, hooks_);
  ASSERT_FALSE(still);
  EXPECT_EQ(still.error().code(), ETIMEDOUT) << still.error().message();
  EXPECT_TRUE(moves(first.pid()));
  EXPECT_TRUE(moves(second.pid()));
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

TEST_F(Undo, UpkeepKilledWhenParked) {
  Subject subject;
  auto upkeep = os::fork_child([&]() -> int {
    hooks_.on_parked = []() -> Result<void> {
      ::raise(SIGKILL);
      return {};
    };
    return snapshot({subject.pid()}) ? 0 : 1;
  });
  ASSERT_OK(upkeep);
  auto status = os::wait_child(*upkeep, std::chrono::seconds(20));
  ASSERT_OK(status);
  EXPECT_EQ(status->signal(), SIGKILL);
  EXPECT_TRUE(moves(subject.pid()));
}

class BadImages : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto still = snapshot({subject_.pid()});
    ASSERT_OK(still);
    manifest_ = (*still)->manifest();
    ::kill(subject_.pid(), SIGKILL);
    still->reset();
    subject_.end();
  }
  Subject subject_;
  nlohmann::json manifest_;
};

TEST_F(BadImages, PidTaken) {
  manifest_["carry"]["trees"][0]["tasks"][0]["pid"] = ::getpid();
  manifest_["carry"]["trees"][0]["root"] = ::getpid();
  auto restored = restore(manifest_);
  ASSERT_FALSE(restored);
  EXPECT_NE(restored.error().message().find("is taken by"), std::string::npos) << restored.error().message();
}

TEST_F(BadImages, HostileManifest) {
  EXPECT_FALSE(restore(nlohmann::json::object()));
  EXPECT_FALSE(restore(nlohmann::json::array({1, 2})));
  EXPECT_FALSE(subject_.alive());
}

}  // namespace
}  // namespace upkeep::engine
