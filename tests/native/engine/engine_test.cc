// What the four steps of engine/engine.h promise.

#include <fcntl.h>
#include <sys/prctl.h>
#include <nlohmann/json.hpp>

#include "engine/model/snapshot.h"
#include "fixture.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using Promises = EngineTest;

std::vector<pid_t> pids_of(const Snapshot& snapshot) {
  std::vector<pid_t> pids;
  for (const auto& process : snapshot.processes) pids.push_back(process.pid);
  return pids;
}

TEST_F(Promises, StandsStillAndRunsOnWhenLetGo) {
  Subject subject;
  ASSERT_TRUE(moves(subject.pid()));
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
  for (int i = 0; i < 3; ++i) {
    auto image = ImageWriter::create(images_);
    ASSERT_OK(image);
    auto still = StoppedSet::stop({subject.pid()});
    ASSERT_OK(still);
    const auto stood = os::process_tree(subject.pid());
    ASSERT_OK(stood);
    EXPECT_EQ(still->pids(), *stood);
    ASSERT_OK(still->save(*image, Durability::in_memory));
    EXPECT_EQ(still->set()->pids(), *stood);
    EXPECT_EQ(carry_set_from_json(to_json(*still->set()))->pids(), *stood);
    EXPECT_EQ(pids_of(still->saved()), *stood);
  }
  EXPECT_TRUE(carry({&subject}));
}

TEST_F(Promises, EachStepDoesWhatItSays) {
  Subject subject;
  auto image = ImageWriter::create(images_);
  ASSERT_OK(image);
  EXPECT_TRUE(moves(subject.pid())) << "an image that is begun stops nobody";
  {
    auto still = StoppedSet::stop({subject.pid()});
    ASSERT_OK(still);
    EXPECT_TRUE(stands_still(subject.pid()));
    ASSERT_OK(still->save(*image, Durability::in_memory));
    EXPECT_TRUE(stands_still(subject.pid()));
    ASSERT_TRUE(end(*still));
  }
  const auto loaded = LoadedSet::load(images_);
  ASSERT_OK(loaded);
  EXPECT_FALSE(subject.alive()) << "nothing is made by reading";
  EXPECT_FALSE(loaded->wants_journald());
  auto made = loaded->make();
  ASSERT_OK(made);
  EXPECT_EQ(made->pids(), std::vector<pid_t>{subject.pid()});
  EXPECT_EQ(made->roots(), std::vector<pid_t>{subject.pid()});
  EXPECT_TRUE(subject.alive());
  EXPECT_TRUE(stands_still(subject.pid()));
  ASSERT_OK(made->go_live());
  EXPECT_TRUE(stands_still(subject.pid()));
  ASSERT_OK(made->release());
  EXPECT_TRUE(moves(subject.pid()));
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
  {
    const auto still = StoppedSet::stop({first.pid(), second.pid(), third.pid()});
    ASSERT_OK(still);
    EXPECT_TRUE(stands_still(first.pid()));
    EXPECT_TRUE(stands_still(second.pid()));
    EXPECT_TRUE(stands_still(third.pid()));
  }
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
  {
    auto still = snapshot({subject.pid()});
    ASSERT_OK(still);
    ::kill(subject.pid(), SIGKILL);
  }
  subject.end();
  std::uint64_t counter = 0;
  {
    const auto refused = make();
    ASSERT_OK(refused);
    EXPECT_TRUE(subject.alive());
    EXPECT_TRUE(stands_still(subject.pid()));
    counter = peek(subject.pid());
  }
  ::waitpid(subject.pid(), nullptr, WNOHANG);
  EXPECT_TRUE(eventually([&] { return ::waitpid(subject.pid(), nullptr, WNOHANG) < 0 && !subject.alive(); }));
  auto again = make();  // the image is still good
  ASSERT_OK(again);
  EXPECT_EQ(peek(subject.pid()), counter);
  ASSERT_OK(again->release());
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Promises, CopyBeforehandIsUsed) {
  Subject subject;
  auto set = collect({subject.pid()});
  ASSERT_OK(set);
  auto image = ImageWriter::create(images_);
  ASSERT_OK(image);
  image_.emplace(std::move(*image));
  auto pages = copy_ahead(*set, *image_);
  ASSERT_OK(pages);
  if (!*pages) GTEST_SKIP() << "this kernel does not track memory changes";
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_GT(**pages, 0U);
  ASSERT_TRUE(carry({&subject}));
}

}  // namespace
}  // namespace upkeep::engine
