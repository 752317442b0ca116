#include "engine/inspect/sockets/journal_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace upkeep::engine {
namespace {

using ::testing::HasSubstr;

// As systemd 252 writes it, and with a field that a later one might add.
constexpr const char* kFile =
    "# This is private data. Do not parse\nPRIORITY=30\nLEVEL_PREFIX=1\nFORWARD_TO_SYSLOG=0\n"
    "FORWARD_TO_KMSG=1\nFORWARD_TO_CONSOLE=0\nSTREAM_ID=34b5b56eb1e64476a14bc216d086b3d1\n"
    "IDENTIFIER=n\\303\\244me \\\\ \\\"x\\\"\\t\nUNIT=dev-disk\\\\x2dby.device\nNEW=1\n";

std::string error_of(std::string_view text) {
  auto stream = parse_journal_stream(text);
  return stream ? "no error" : stream.error().message();
}

TEST(JournalStreams, EveryField) {
  const auto stream = parse_journal_stream(kFile);
  ASSERT_TRUE(stream) << stream.error().message();
  EXPECT_EQ(*stream, (JournalStream{"n\303\244me \\ \"x\"\t", "dev-disk\\x2dby.device", 30, true, false, true,
                                    false}));
}

TEST(JournalStreams, WithoutUnitAndIdentifier) {
  const auto stream = parse_journal_stream("PRIORITY=6\nLEVEL_PREFIX=0");
  ASSERT_TRUE(stream) << stream.error().message();
  EXPECT_EQ(*stream, (JournalStream{"", "", 6, false, false, false, false}));
}

TEST(JournalStreams, WhatIsNoneIsRefused) {
  EXPECT_THAT(error_of(""), HasSubstr("no priority"));
  EXPECT_THAT(error_of("PRIORITY=\n"), HasSubstr("PRIORITY: '' is not a number"));
  EXPECT_THAT(error_of("PRIORITY=6x\n"), HasSubstr("not a number"));
  EXPECT_THAT(error_of("PRIORITY=6\nLEVEL_PREFIX=yes\n"),
              HasSubstr("LEVEL_PREFIX: 'yes' is neither 0 nor 1"));
  EXPECT_THAT(error_of("PRIORITY=6\nUNIT=a\\q\n"), HasSubstr("UNIT: 'a\\q' is escaped in an unknown way"));
  EXPECT_THAT(error_of("PRIORITY=6\nUNIT=a\\18\n"), HasSubstr("unknown way"));
  EXPECT_THAT(error_of("PRIORITY=6\nUNIT=a\\777\n"), HasSubstr("unknown way"));
  EXPECT_THAT(error_of("PRIORITY=6\nUNIT=a\\"), HasSubstr("ends with a backslash"));
}

}  // namespace
}  // namespace upkeep::engine
