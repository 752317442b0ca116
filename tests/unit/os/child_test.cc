#include "os/child.h"

#include <gmock/gmock.h>

namespace upkeep::os {
namespace {

using std::chrono::milliseconds;

TEST(Child, CollectsBothOutputsAndTheStatus) {
  auto finished = run({"sh", "-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(finished) << finished.error().message();
  EXPECT_EQ(finished->out, "out\n");
  EXPECT_EQ(finished->err, "err\n");
  EXPECT_EQ(finished->status.code(), 3);
}

TEST(Child, GivesInputOfAnySize) {
  SpawnOptions options;
  options.input = std::string(1 << 20, 'x');
  auto out = run_checked({"cat"}, options);
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_EQ(out->size(), options.input.size());
}

TEST(Child, ErrorShowsTheLastLineSaid) {
  auto out = run_checked({"sh", "-c", "echo first >&2; echo 'cannot do it' >&2; exit 1"});
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().message(), "sh: exit status 1: cannot do it");
}

TEST(Child, IsKilledWhenTheTimeIsOver) {
  SpawnOptions options;
  options.timeout = milliseconds(50);
  auto finished = run({"sleep", "100"}, options);
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code(), ETIMEDOUT);
}

TEST(Child, MissingProgramIsToldFromAFailingOne) {
  auto out = run_checked({"/nonexistent/program"});
  ASSERT_FALSE(out);
  EXPECT_THAT(out.error().message(), testing::HasSubstr("No such file"));
  EXPECT_EQ(find_program("surely-not-there"), "");
  EXPECT_NE(find_program("sh"), "");
}

TEST(Child, SignalIsNamed) {
  auto finished = run({"sh", "-c", "kill -9 $$"});
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status.signal(), 9);
  EXPECT_THAT(finished->status.text(), testing::HasSubstr("signal 9"));
}

}  // namespace
}  // namespace upkeep::os
