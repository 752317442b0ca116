#include "engine/criu/wire.h"

#include <gtest/gtest.h>

#include "engine/criu/rpc.h"
#include "engine/criu/statistics.h"
#include "engine/criu/timer_images.h"

namespace upkeep::engine::criu {
namespace {

using namespace std::string_literals;

// Examples of https://protobuf.dev/programming-guides/encoding
TEST(Wire, WritesWhatTheSpecificationShows) {
  WireWriter number;
  number.varint(1, 150);
  EXPECT_EQ(number.text(), "\x08\x96\x01"s);
  WireWriter text;
  text.bytes(2, "testing");
  EXPECT_EQ(text.text(), "\x12\x07testing"s);
  WireWriter inner;
  inner.message(3, number);
  EXPECT_EQ(inner.text(), "\x1a\x03\x08\x96\x01"s);
  WireWriter negative;
  negative.int32(1, -2);
  EXPECT_EQ(negative.text(), "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"s);
}

TEST(Wire, ReadsEveryType) {
  const std::string message =
      "\x08\x96\x01\x12\x02hi\x1d\x01\x02\x03\x04\x21\x01\x00\x00\x00\x00\x00\x00\x80"s;
  WireReader reader(message);
  auto field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_EQ(field->number, 1U);
  EXPECT_EQ(field->value, 150U);
  field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_EQ(field->type, WireField::Type::bytes);
  EXPECT_EQ(field->bytes, "hi");
  field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_EQ(field->value, 0x04030201U);
  field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_EQ(field->value, 0x8000000000000001U);
  EXPECT_FALSE(reader.next());
  EXPECT_FALSE(reader.broken());
}

TEST(Wire, LargestNumber) {
  WireWriter out;
  out.varint(0x1fffffff, ~std::uint64_t{0});
  WireReader reader(out.text());
  auto field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_EQ(field->number, 0x1fffffffU);
  EXPECT_EQ(field->value, ~std::uint64_t{0});
}

TEST(Wire, RefusesWhatIsNotWellFormed) {
  const std::vector<std::string> hostile = {
      "\x08",                                               // no value
      "\x08\x80",                                           // a number that does not end
      "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"s,      // more than 64 bits
      "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"s,  // eleven bytes
      "\x12\x05hi",                                         // shorter than it says
      "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s,      // longer than memory
      "\x00\x01"s,                                          // field 0
      "\x0b",                                               // groups
      "\x0e\x01",                                           // no such type
      "\x1d\x01\x02",                                       // half a fixed number
      "\xf8\xff\xff\xff\xff\x01\x01"s,                      // field number beyond 2^29
  };
  for (const auto& text : hostile) {
    WireReader reader(text);
    EXPECT_FALSE(reader.next());
    EXPECT_TRUE(reader.broken());
    EXPECT_FALSE(reader.next());  // and stays so
  }
}

TEST(Rpc, RequestsSayWhatTheyShould) {
  Options options;
  options.images_fd = 5;
  options.pid = 412;
  options.leave_running = true;
  const std::string message = encode_request(RequestType::dump, options);
  WireReader outer(message);
  auto type = outer.next(), inner = outer.next();
  ASSERT_TRUE(type && inner);
  EXPECT_EQ(type->value, 1U);
  std::map<std::uint32_t, std::uint64_t> fields;
  WireReader reader(inner->bytes);
  while (auto field = reader.next()) fields[field->number] = field->value;
  ASSERT_FALSE(reader.broken());
  EXPECT_EQ(fields[1], 5U);           // images_dir_fd
  EXPECT_EQ(fields[2], 412U);         // pid
  EXPECT_EQ(fields[3], 1U);           // leave_running: criu never kills anything
  EXPECT_EQ(fields[5], 1U);           // tcp_established
  EXPECT_EQ(fields[12], 1U);          // notify_scripts
  EXPECT_EQ(fields[64], 3U);          // network_lock: SKIP
  EXPECT_FALSE(fields.contains(15));  // track_mem
}

TEST(Rpc, ReadsNotifications) {
  auto response = decode_response("\x08\x06\x10\x01\x2a\x0b\x0a\x09post-dump"s);
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->type, RequestType::notify);
  EXPECT_TRUE(response->success);
  EXPECT_EQ(response->notification, "post-dump");
}

TEST(Rpc, ReadsVersionsAndFailures) {
  auto version = decode_response("\x08\x0a\x10\x01\x52\x06\x08\x04\x10\x01\x20\x01"s);
  ASSERT_TRUE(version);
  EXPECT_EQ(version->major, 4);
  EXPECT_EQ(version->minor, 1);
  EXPECT_EQ(version->sublevel, 1);
  auto failure = decode_response("\x08\x01\x10\x00\x38\x03\x4a\x03why"s);
  ASSERT_TRUE(failure);
  EXPECT_FALSE(failure->success);
  EXPECT_EQ(failure->code, 3);
  EXPECT_EQ(failure->message, "why");
}

TEST(Rpc, RefusesBrokenMessages) {
  EXPECT_FALSE(decode_response(""));
  EXPECT_FALSE(decode_response("\x10\x01"));                   // no type
  EXPECT_FALSE(decode_response("\x08\x06\x2a\x02\x0a"s));      // cut
  EXPECT_FALSE(decode_response("\x08\x06\x2a\x02\x0a\x05"s));  // cut inside
}

// Whatever bytes come: an answer or an error, in bounded time. Run under sanitizers.
TEST(Rpc, SurvivesNoise) {
  std::uint32_t state = 12345;
  auto random = [&state] { return static_cast<char>((state = state * 1664525 + 1013904223) >> 24); };
  const std::string good = "\x08\x06\x10\x01\x2a\x0b\x0a\x09post-dump"s;
  for (int round = 0; round < 20000; ++round) {
    std::string message = round % 2 == 0 ? good : std::string(static_cast<std::size_t>(round % 40), ' ');
    if (round % 2 == 0) {
      message[static_cast<std::size_t>(round) % message.size()] = random();
    } else {
      for (auto& c : message) c = random();
    }
    auto response = decode_response(message);
    if (!response) continue;
    EXPECT_LE(response->notification.size(), message.size());
  }
}

TEST(Statistics, AddsUpThePause) {
  // magic twice, length, then {dump {freezing 1500, frozen 2500, 5: 100, 6: 10, 7: 90}}
  auto parsed = parse_dump_statistics(
      "abcdefgh\x10\x00\x00\x00\x0a\x0c\x08\xdc\x0b\x10\xc4\x13\x28\x64\x30\x0a\x38\x5a"s);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_DOUBLE_EQ(parsed->paused_ms, 4.0);
  EXPECT_EQ(parsed->pages_scanned, 100U);
  EXPECT_EQ(parsed->pages_skipped_parent, 10U);
  EXPECT_EQ(parsed->pages_written, 90U);
  EXPECT_FALSE(parse_dump_statistics("short"));
  EXPECT_FALSE(parse_dump_statistics("abcdefghijkl\x12\x00"s));
}

std::string timer_image(std::uint64_t flags, std::uint64_t nanoseconds_left, std::uint64_t period) {
  WireWriter timer;
  timer.varint(1, 5);  // id
  timer.varint(4, 1);  // clockid
  timer.varint(5, 3);  // ticks
  timer.varint(6, flags);
  timer.varint(7, 0);
  timer.varint(8, nanoseconds_left);
  timer.varint(9, 0);
  timer.varint(10, period);
  WireWriter other, file;
  other.varint(1, 1);
  other.bytes(3, "not a timer");
  file.varint(1, 11);
  file.message(12, timer);
  std::string image = "magicnum";
  for (const auto& entry : {other.text(), file.text()})
    image += std::string{static_cast<char>(entry.size()), 0, 0, 0} + entry;
  return image;
}

TEST(TimerImages, ExpiredPeriodicOnesGoOn) {
  EXPECT_EQ(corrected_timers(timer_image(0, 0, 1'000'000)).value(), timer_image(0, 1, 1'000'000));
  EXPECT_EQ(corrected_timers(timer_image(0, 7, 1'000'000)).value(), timer_image(0, 7, 1'000'000));
  EXPECT_EQ(corrected_timers(timer_image(0, 0, 0)).value(), timer_image(0, 0, 0));  // not armed
}

TEST(TimerImages, AbsoluteOnesBecomeRelative) {
  EXPECT_EQ(corrected_timers(timer_image(1, 7, 0)).value(), timer_image(0, 7, 0));
  EXPECT_EQ(corrected_timers(timer_image(3, 7, 0)).value(), timer_image(2, 7, 0));
}

TEST(TimerImages, RefusesWhatIsCut) {
  const auto image = timer_image(0, 0, 1'000'000);
  for (std::size_t size = 0; size < image.size(); ++size) {
    auto result = corrected_timers(std::string_view(image).substr(0, size));
    const bool between_entries = size == 8 || size == 8 + 4 + 15;
    EXPECT_EQ(result.has_value(), between_entries) << size;
  }
}

}  // namespace
}  // namespace upkeep::engine::criu
