// What every engine promises, see engine/engine.h.

#include <fcntl.h>
#include <sys/prctl.h>
#include <nlohmann/json.hpp>

#include "fixture.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using Promises = EngineTest;

TEST_F(Promises, StandsStillAndRunsOn) {
  Subject subject;
  ASSERT_TRUE(moves(subject.pid()));
  auto still = snapshot({subject.pid()});
  ASSERT_OK(still);
  EXPECT_TRUE(stands_still(subject.pid()));
  auto resumed = (*still)->resume();
  ASSERT_OK(resumed);
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Promises, RunsOnWhenLetGo) {
  Subject subject;
  {
    auto still = snapshot({subject.pid()});
    ASSERT_OK(still);
    EXPECT_TRUE(stands_still(subject.pid()));
  }
  EXPECT_TRUE(moves(subject.pid()));
}

// As a shell loop's, or a server's workers: the set that was asked for is old by the time that all stand
// still.
TEST_F(Promises, ChildrenThatComeAndGoAreThoseThatStoodStill) {
  Subject subject({}, [] {
    const pid_t child = ::fork();
    if (child == 0) {
      ::poll(nullptr, 0, 20);
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
  });
  std::vector<pid_t> stood;
  hooks_.on_parked = [&]() -> Result<void> {
    TRY_ASSIGN(stood, os::process_tree(subject.pid()));
    return {};
  };
  for (int i = 0; i < 3; ++i) {
    auto still = snapshot({subject.pid()});
    ASSERT_OK(still);
    EXPECT_EQ((*still)->set().pids(), stood);
    EXPECT_EQ(carry_set_from_json((*still)->manifest().at("carry"))->pids(), stood);
  }
  EXPECT_TRUE(carry({&subject}));
}

TEST_F(Promises, HooksComeWhenTheySay) {
  Subject subject;
  std::vector<std::string> order;
  hooks_.on_ready = [&]() -> Result<void> {
    order.emplace_back(moves(subject.pid()) ? "ready" : "ready, but stopped");
    return {};
  };
  hooks_.on_parked = [&]() -> Result<void> {
    order.emplace_back(stands_still(subject.pid()) ? "parked" : "parked, but running");
    return {};
  };
  restore_hooks_.on_started = [&]() -> Result<void> {
    order.emplace_back(subject.alive() ? "started, but made" : "started");
    return {};
  };
  restore_hooks_.on_restored = [&](const std::vector<pid_t>& pids) -> Result<void> {
    EXPECT_EQ(pids, std::vector<pid_t>{subject.pid()});
    order.emplace_back(subject.alive() ? "restored" : "restored, but not there");
    return {};
  };
  restore_hooks_.on_resuming = [&] {
    order.emplace_back(stands_still(subject.pid()) ? "resuming" : "resuming, but running");
  };
  ASSERT_TRUE(carry({&subject}));
  EXPECT_EQ(order, (std::vector<std::string>{"ready", "parked", "started", "restored", "resuming"}));
}

TEST_F(Promises, CountsOnUnderItsPid) {
  Subject subject;
  ASSERT_TRUE(moves(subject.pid()));
  auto before = peek(subject.pid());
  ASSERT_TRUE(carry({&subject}));
  EXPECT_GE(peek(subject.pid()), before);
  EXPECT_LT(peek(subject.pid()), before + 1'000'000);
}

TEST_F(Promises, ThreeTimesInARow) {
  // value 0: the last time read; value 1: how often it went back
  Subject subject({}, [] {
    timespec now = {};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    auto ns =
        static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
    if (ns < board().value[0]) board().value[1]++;
    board().value[0] = ns;
  });
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(carry({&subject})) << "round " << round;
    EXPECT_EQ(peek(subject.pid(), 2), 0U) << "CLOCK_MONOTONIC went back in round " << round;
  }
}

TEST_F(Promises, SeveralTreesStopTogether) {
  Subject first, second, third;
  hooks_.on_parked = [&]() -> Result<void> {
    EXPECT_TRUE(stands_still(first.pid()));
    EXPECT_TRUE(stands_still(second.pid()));
    EXPECT_TRUE(stands_still(third.pid()));
    return {};
  };
  ASSERT_TRUE(carry({&first, &second, &third}));
  EXPECT_TRUE(moves(second.pid()));
}

TEST_F(Promises, CarriesAWholeTree) {
  // The child is watched through its own copy of the board.
  Subject subject([] {
    if (auto child = ::fork(); child != 0) {
      board().value[0] = static_cast<std::uint64_t>(child);
      return;
    }
    board().counter = 1'000'000;
  });
  auto child = static_cast<pid_t>(peek(subject.pid(), 1));
  ASSERT_GT(child, 0);
  ASSERT_TRUE(eventually([&] { return peek(child) > 1'000'000; }));
  auto set = collect({child, subject.pid()});
  ASSERT_OK(set);
  ASSERT_EQ(set->trees.size(), 1U);
  EXPECT_EQ(set->pids(), (std::vector<pid_t>{subject.pid(), child}));
  ASSERT_TRUE(carry({&subject}));
  EXPECT_TRUE(moves(child));
  EXPECT_GT(peek(child), 1'000'000U);
  EXPECT_EQ(os::read_stat(child)->ppid, subject.pid());
  ::kill(child, SIGKILL);
}

TEST_F(Promises, NothingRunsThatIsRefused) {
  Subject subject;
  nlohmann::json manifest;
  {
    auto still = snapshot({subject.pid()});
    ASSERT_OK(still);
    manifest = (*still)->manifest();
    ::kill(subject.pid(), SIGKILL);
  }
  subject.end();
  restore_hooks_.on_restored = [&](const std::vector<pid_t>&) -> Result<void> {
    EXPECT_TRUE(subject.alive());
    return Err("the verification failed");
  };
  auto refused = restore(manifest);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "the verification failed");
  ::waitpid(subject.pid(), nullptr, WNOHANG);
  EXPECT_TRUE(eventually([&] { return ::waitpid(subject.pid(), nullptr, WNOHANG) < 0 && !subject.alive(); }));
  restore_hooks_.on_restored = {};
  auto again = restore(manifest);  // the images are still good
  ASSERT_OK(again);
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Promises, CopyBeforehandIsUsed) {
  Subject subject;
  auto set = collect({subject.pid()});
  ASSERT_OK(set);
  auto prepared = engine_->prepare(*set, images_, hooks_.facts);
  ASSERT_OK(prepared);
  if (!*prepared) GTEST_SKIP() << "this kernel does not track memory changes";
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_TRUE(facts_.contains("engine.prepare_pause_ms"));
  ASSERT_TRUE(carry({&subject}));
}

}  // namespace
}  // namespace upkeep::engine
