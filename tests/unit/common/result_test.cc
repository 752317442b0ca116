#include "common/result.h"

#include <gmock/gmock.h>

namespace upkeep {
namespace {

Result<int> fails() {
  errno = ENOENT;
  return ErrnoErr("open {}", "/x");
}

Result<int> passes_on() {
  TRY_ASSIGN(int value, fails());
  return value + 1;
}

Result<void> adds_context() {
  TRY_IN("reading the configuration", fails());
  return {};
}

TEST(Result, KeepsErrnoAndMessage) {
  auto result = passes_on();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ENOENT);
  EXPECT_EQ(result.error().message(), "open /x: No such file or directory");
}

TEST(Result, ContextComesFirst) {
  auto result = adds_context();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "reading the configuration: open /x: No such file or directory");
  EXPECT_EQ(result.error().code(), ENOENT);
}

}  // namespace
}  // namespace upkeep
