#include "memory/store_writer.h"

#include <gmock/gmock.h>

#include "store_fixture.h"

namespace upkeep::memory {
namespace {

using testing::HasSubstr;

class StoreWriterTest : public StoreFixture {};

TEST_F(StoreWriterTest, AnUnfinishedStoreIsNeverReadEvenOverAnOldOne) {
  auto first = writer();
  ASSERT_TRUE(first.add_bytes("manifest.json", "{}"));
  ASSERT_TRUE(first.finish());
  ASSERT_TRUE(CarriedImages::open_file(store_file()));
  auto second = writer();
  ASSERT_TRUE(second.add_bytes("manifest.json", "{}"));
  const auto opened = CarriedImages::open_file(store_file());
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message(), HasSubstr("no image store"));
}

TEST_F(StoreWriterTest, NoRoomIsOneErrorAndTheStoreStaysUsable) {
  auto store = writer();
  ASSERT_TRUE(store.add_bytes("small", "x"));
  const auto used = store.used();
  const auto full = store.add_bytes("large", std::string(kSize, 'x'));
  ASSERT_FALSE(full);
  EXPECT_THAT(full.error().message(), HasSubstr("no room in the image store: 'large'"));
  EXPECT_EQ(store.used(), used);
  ASSERT_TRUE(store.add_bytes("large", "y"));
  ASSERT_TRUE(store.finish());
  EXPECT_EQ(CarriedImages::open_file(store_file()).value().read("large").value(), "y");
}

TEST_F(StoreWriterTest, FillsTheStoreToTheLastByteAndFinishesStill) {
  auto store = writer();
  ASSERT_TRUE(store.add_bytes("a", "x"));
  // A little less each time until it fits: the table must then fit too.
  std::uint64_t size = store.room();
  const std::string content(size, 'z');
  while (!store.add_bytes("b", std::string_view(content).substr(0, size))) --size;
  EXPECT_LT(store.room(), 4096U);
  ASSERT_TRUE(store.finish());
  const auto images = CarriedImages::open_file(store_file());
  ASSERT_TRUE(images) << images.error().message();
  EXPECT_EQ(images->find("b")->size, size);
}

TEST_F(StoreWriterTest, SizeEstimateIsEnough) {
  std::uint64_t bytes = 0;
  for (unsigned i = 0; i < 300; ++i) {
    const auto text = random_text(i * 37, i);
    bytes += text.size();
    put("tree/file-with-a-rather-long-name-" + std::to_string(i), text);
  }
  auto store = writer();
  ASSERT_TRUE(store.add_tree("images", directory("tree")));
  EXPECT_LE(store.used(), store_size_for(bytes, 301));
}

TEST_F(StoreWriterTest, EachNameOnceAndNothingAfterTheEnd) {
  auto store = writer();
  ASSERT_TRUE(store.add_bytes("a", "1"));
  EXPECT_THAT(store.add_bytes("a", "2").error().message(), HasSubstr("twice"));
  EXPECT_FALSE(store.add_bytes("../a", "2"));
  EXPECT_FALSE(store.add_bytes("a/b", "2")) << "a is a file";
  auto other = writer();
  ASSERT_TRUE(other.finish());
  EXPECT_THAT(other.add_bytes("b", "1").error().message(), HasSubstr("finished"));
  EXPECT_FALSE(other.finish());
}

TEST_F(StoreWriterTest, RefusesWhatItCannotCarry) {
  put("tree/file", "x");
  ASSERT_EQ(mkfifo((directory_ + "/tree/pipe").c_str(), 0600), 0);
  auto store = writer();
  EXPECT_THAT(store.add_tree("t", directory("tree")).error().message(), HasSubstr("pipe is neither"));
  const auto folder = directory("tree");
  EXPECT_THAT(store.add_file("f", folder).error().message(), HasSubstr("not a regular file"));
}

TEST_F(StoreWriterTest, RangesThatDoNotMatchTheMemoryAreRefusedAtOnce) {
  auto wrong = ranges();
  wrong[0].size += kPageSize;
  EXPECT_FALSE(StoreWriter::create(memory(), wrong, "test"));
  EXPECT_FALSE(StoreWriter::create(memory(), ranges(), ""));
  EXPECT_FALSE(StoreWriter::create(memory(), {}, "test"));
}

}  // namespace
}  // namespace upkeep::memory
