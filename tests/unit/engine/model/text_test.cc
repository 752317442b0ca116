#include "common/text.h"

#include <gtest/gtest.h>

namespace upkeep::engine {
namespace {

TEST(Text, AnyBytesComeBack) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  auto back = unescape(escape(all));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, all);
}

TEST(Text, PrintableAsciiIsReadable) {
  EXPECT_EQ(escape("/var/log/x y.log"), "/var/log/x y.log");
  EXPECT_EQ(escape("a\\b\n"), "a\\x5cb\\x0a");
}

TEST(Text, BrokenEscapesAreRefused) {
  for (const char* text : {"\\", "\\x", "\\x1", "\\xg0", "\\n", "a\\x4"})
    EXPECT_FALSE(unescape(text)) << text;
}

TEST(Text, HexadecimalComesBack) {
  const Bytes bytes{{0, 1, 0xfe, 0xff}};
  EXPECT_EQ(to_hex(bytes), "0001feff");
  EXPECT_EQ(*from_hex("0001feff"), bytes);
  EXPECT_FALSE(from_hex("012"));
  EXPECT_FALSE(from_hex("0x"));
}

TEST(Text, RunsOfZerosAreCounted) {
  Bytes bytes;
  bytes.data.assign(2000, 0);
  bytes.data.front() = bytes.data.back() = 1;
  EXPECT_EQ(to_hex(bytes), "01~1998~01");
  EXPECT_EQ(*from_hex("01~1998~01"), bytes);
  Bytes few;
  few.data.assign(7, 0);
  EXPECT_EQ(to_hex(few), "00000000000000");
  Bytes many;
  many.data.assign(100'000, 0);
  EXPECT_EQ(*from_hex(to_hex(many)), many);
  for (const char* bad : {"~", "~~", "~7~", "~8", "~-8~", "~65537~", "~99999999999999999999~", "~8~0"})
    EXPECT_FALSE(from_hex(bad)) << bad;
}

}  // namespace
}  // namespace upkeep::engine
