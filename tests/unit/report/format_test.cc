#include "report/format.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <random>

namespace upkeep::report {
namespace {

using testing::ElementsAre;

TEST(Format, Durations) {
  EXPECT_EQ(duration_text(0), "0 µs");
  EXPECT_EQ(duration_text(850'000), "850 µs");
  EXPECT_EQ(duration_text(3'200'000), "3.2 ms");
  EXPECT_EQ(duration_text(213'000'000), "213 ms");
  EXPECT_EQ(duration_text(999'600'000), "1.00 s");
  EXPECT_EQ(duration_text(6'930'000'000), "6.93 s");
  EXPECT_EQ(duration_text(9'999'000'000), "10.0 s");
  EXPECT_EQ(duration_text(59'990'000'000), "1 min 00 s");
  EXPECT_EQ(duration_text(125'000'000'000), "2 min 05 s");
  EXPECT_EQ(duration_text(3'725'000'000'000), "1 h 02 min");
  EXPECT_EQ(duration_text(-3'200'000), "-3.2 ms");
  EXPECT_EQ(duration_text(INT64_MAX), "106751 days");
  EXPECT_THAT(duration_text(INT64_MIN), testing::StartsWith("-"));
}

TEST(Format, Bytes) {
  EXPECT_EQ(bytes_text(0), "0 bytes");
  EXPECT_EQ(bytes_text(512), "512 bytes");
  EXPECT_EQ(bytes_text(14'200'000), "14.2 MB");
  EXPECT_EQ(bytes_text(1.5e9), "1.50 GB");
  EXPECT_EQ(bytes_text(999'700), "1.00 MB");
  EXPECT_EQ(bytes_text(-1), "unknown");
}

TEST(Format, Times) {
  EXPECT_EQ(time_text(0), "unknown");
  EXPECT_EQ(time_text(1'795'446'602'123'000'000), "2026-11-23 15:10:02 UTC");
  EXPECT_EQ(time_iso(1'795'446'602'123'000'000), "2026-11-23T15:10:02.123Z");
}

TEST(Format, FactsHaveTheUnitOfTheirName) {
  EXPECT_EQ(fact_text("image_bytes", 152043520), "152 MB");
  EXPECT_EQ(fact_text("bytes_carried", 1000), "1.00 kB");
  EXPECT_EQ(fact_text("predicted_window_s", 6.4), "6.40 s");
  EXPECT_EQ(fact_text("park_ns", 2'000'000), "2.0 ms");
  EXPECT_EQ(fact_text("engine.parked_ms", 213.4), "213 ms");
  EXPECT_EQ(fact_title("engine.parked_ms"), "engine parked");
  EXPECT_EQ(fact_text("modules", 41), "41");
  EXPECT_EQ(fact_text("kvm", true), "yes");
  EXPECT_EQ(fact_text("huge_s", 1e300), "1e+300");
  EXPECT_EQ(fact_text("text", "a\nb"), "a?b");
  EXPECT_EQ(fact_title("predicted_window_s"), "predicted window");
  EXPECT_EQ(fact_title("_s"), " s");
}

TEST(Format, RoundedSecondsAddUp) {
  // Rounded one by one these would be 0.333 three times, and 0.999 is not 1.000.
  std::vector<std::int64_t> thirds = {333'333'333, 333'333'333, 333'333'334};
  EXPECT_THAT(seconds_that_add_up(thirds, 3), ElementsAre("0.333", "0.334", "0.333"));
}

TEST(Format, RoundedSecondsAlwaysAddUp) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::int64_t> lengths(1 + random() % 12);
    std::int64_t total = 0;
    for (auto& length : lengths) total += length = static_cast<std::int64_t>(random() % 4'000'000'000);
    int decimals = decimals_for(total);
    double shown = 0;
    for (const auto& text : seconds_that_add_up(lengths, decimals))
      shown += std::strtod(text.c_str(), nullptr);
    auto whole = seconds_that_add_up(std::span(&total, 1), decimals)[0];
    EXPECT_NEAR(shown, std::strtod(whole.c_str(), nullptr), 1e-9);
  }
}

TEST(Format, NothingThatDisturbsATerminalIsLeft) {
  EXPECT_EQ(printable("redis"), "redis");
  EXPECT_EQ(printable("größer → 5 µs"), "größer → 5 µs");
  EXPECT_EQ(printable("a\33[2Jb\r\n\tc"), "a?[2Jb???c");
  EXPECT_EQ(printable("\x7f\xc2\x9b"), "??") << "DEL and the one-character CSI";
  EXPECT_EQ(printable("\xff\xfe"
                      "a\xc3"),
            "??a?")
      << "not UTF-8";
  EXPECT_EQ(printable("\xc0\xaf\xed\xa0\x80"), "?????") << "overlong, surrogate";
  EXPECT_EQ(printable("gnp\xe2\x80\xae"
                      "exe"),
            "gnp?exe")
      << "right-to-left override";
}

TEST(Format, Columns) {
  EXPECT_EQ(columns("µs→"), 3U);
  EXPECT_EQ(pad("µs", 4), "µs  ");
  EXPECT_EQ(pad_left("µs", 4), "  µs");
  EXPECT_EQ(shorten("kernel", 6), "kernel");
  EXPECT_EQ(shorten("kernels", 6), "kerne…");
  EXPECT_EQ(shorten("µµµµ", 3), "µµ…");
  EXPECT_EQ(shorten("abc", 0), "");
}

}  // namespace
}  // namespace upkeep::report
