// Whatever goes wrong before the jump: every task runs on.

#include <fcntl.h>
#include <nlohmann/json.hpp>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using Undo = EveryEngine;
INSTANTIATE_TEST_SUITE_P(Engines, Undo, all_engines, engine_name);

TEST_P(Undo, ErrorBeforeStopping) {
  Subject subject;
  hooks_.on_ready = []() -> Result<void> { return Err("not now"); };
  auto still = snapshot({subject.pid()});
  ASSERT_FALSE(still);
  EXPECT_EQ(still.error().message(), "not now");
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_P(Undo, ErrorWhenParked) {
  Subject first, second;
  hooks_.on_parked = []() -> Result<void> { return Err("the network cannot be closed"); };
  auto still = snapshot({first.pid(), second.pid()});
  ASSERT_FALSE(still);
  EXPECT_EQ(still.error().message(), "the network cannot be closed");
  EXPECT_TRUE(moves(first.pid()));
  EXPECT_TRUE(moves(second.pid()));
}

TEST_P(Undo, Cancelled) {
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

TEST_P(Undo, DeadlineOver) {
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

TEST_P(Undo, NoPlaceForTheImages) {
  Subject subject;
  images_ = folder_.path() + "/images/file";
  ASSERT_TRUE(os::replace_file(images_, "in the way"));
  auto still = snapshot({subject.pid()});
  ASSERT_FALSE(still);
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_P(Undo, UpkeepKilled) {
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

TEST_P(Undo, UpkeepKilledWhenParked) {
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

using CriuUndo = EngineTest;

TEST_F(CriuUndo, KilledWhileTasksStandStill) {
  Subject subject;
  auto still = snapshot({subject.pid()});
  ASSERT_OK(still);
  ASSERT_TRUE(stands_still(subject.pid()));
  auto criu = criu_processes();
  ASSERT_EQ(criu.size(), 1U);
  ::kill(criu.front(), SIGKILL);
  EXPECT_TRUE(moves(subject.pid()));
  auto resumed = (*still)->resume();
  ASSERT_FALSE(resumed);
  EXPECT_NE(resumed.error().message().find("killed by signal 9"), std::string::npos)
      << resumed.error().message();
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(CriuUndo, KilledWhenParked) {
  Subject subject;
  hooks_.on_parked = [&]() -> Result<void> {
    for (pid_t pid : criu_processes()) ::kill(pid, SIGKILL);
    return {};
  };
  auto still = snapshot({subject.pid()});
  ASSERT_FALSE(still);
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
    tree_ = images_ + "/tree-" + std::to_string(subject_.pid());
  }
  Subject subject_;
  nlohmann::json manifest_;
  std::string tree_;
};

TEST_F(BadImages, Truncated) {
  auto images = matches(tree_ + "/*.img");
  ASSERT_GT(images.size(), 5U);
  for (const auto& image : images) {
    auto content = os::read_file(image);
    ASSERT_TRUE(content);
    ASSERT_EQ(::truncate(image.c_str(), static_cast<off_t>(content->size()) - 1), 0);
    auto restored = restore(manifest_);
    ASSERT_FALSE(restored) << image;
    EXPECT_NE(restored.error().message().find(image), std::string::npos) << restored.error().message();
    EXPECT_FALSE(subject_.alive());
    ASSERT_TRUE(os::replace_file(image, *content));
  }
  auto restored = restore(manifest_);
  ASSERT_OK(restored);
  EXPECT_TRUE(moves(subject_.pid()));
}

// Checksums are the carrier's; where something slips through, criu must end in an error and no task may stay.
TEST_F(BadImages, Corrupted) {
  for (const char* name : {"inventory.img", "pstree.img", "files.img"}) {
    const std::string image = tree_ + "/" + name;
    auto content = os::read_file(image);
    ASSERT_TRUE(content) << name;
    std::string other = *content;
    for (std::size_t i = 0; i < other.size(); ++i) other[i] = static_cast<char>(other[i] ^ 0x55);
    ASSERT_TRUE(os::replace_file(image, other));
    EXPECT_FALSE(restore(manifest_)) << name;
    EXPECT_TRUE(eventually([&] {
      return ::waitpid(subject_.pid(), nullptr, WNOHANG) < 0 && !subject_.alive();
    })) << name;
    ASSERT_TRUE(os::replace_file(image, *content));
  }
}

TEST_F(BadImages, Missing) {
  ASSERT_EQ(::unlink((tree_ + "/inventory.img").c_str()), 0);
  manifest_["trees"][0]["files"].erase("inventory.img");
  auto restored = restore(manifest_);
  ASSERT_FALSE(restored);
  EXPECT_FALSE(subject_.alive());
}

TEST_F(BadImages, PidTaken) {
  manifest_["carry"]["trees"][0]["tasks"][0]["pid"] = ::getpid();
  manifest_["carry"]["trees"][0]["root"] = ::getpid();
  auto restored = restore(manifest_);
  ASSERT_FALSE(restored);
  EXPECT_NE(restored.error().message().find("is taken by"), std::string::npos) << restored.error().message();
}

TEST_F(BadImages, ManifestOfAnotherEngine) {
  manifest_["engine"] = "native";
  auto restored = restore(manifest_);
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().message(), "the images were made by engine 'native'");
}

TEST_F(BadImages, HostileManifest) {
  for (const char* folder : {"../x", "/etc", "..", "", "a/b"}) {
    manifest_["trees"][0]["images"] = folder;
    EXPECT_FALSE(restore(manifest_)) << folder;
  }
  EXPECT_FALSE(restore(nlohmann::json::object()));
  EXPECT_FALSE(restore(nlohmann::json::array({1, 2})));
}

}  // namespace
}  // namespace upkeep::engine
