#include "memory/carried_images.h"

#include <gmock/gmock.h>

#include "store_fixture.h"

namespace upkeep::memory {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CarriedImagesTest : public StoreFixture {
 protected:
  // Two trees, as of a pre-dump and a dump that refers to it, and a manifest.
  void write_store(unsigned threads = 2) {
    put("pre/pages-1.img", pages_ = random_text(9 * kMiB + 123, 1));
    put("pre/empty.img", "", 0640);
    put("dump/core-1.img", small_ = random_text(700, 2));
    put("dump/deep/er/x", "deep");
    ASSERT_EQ(symlink("../pre", (directory_ + "/dump/parent").c_str()), 0);
    auto store = writer(threads);
    ASSERT_TRUE(store.add_tree("images/pre", directory("pre")));
    ASSERT_TRUE(store.add_tree("images/dump", directory("dump")));
    const auto core = os::open_file(directory_ + "/dump/core-1.img", O_RDONLY);
    ASSERT_TRUE(store.add_file("extra/core", *core));
    ASSERT_TRUE(store.add_bytes("manifest.json", R"({"a":1})"));
    ASSERT_TRUE(store.finish());
    used_ = store.used();
  }
  // Changes one byte of the store's file.
  static void damage(const std::string& path, std::uint64_t offset) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const auto at = static_cast<std::streamoff>(offset);
    const int byte = file.seekg(at).get();
    file.seekp(at).put(static_cast<char>(byte ^ 0x20));
    ASSERT_TRUE(file.good());
  }
  std::string pages_, small_;
  std::uint64_t used_ = 0;
};

TEST_F(CarriedImagesTest, EverythingComesOutAsItWentIn) {
  for (const unsigned threads : {1U, 2U, 4U}) {
    write_store(threads);
    auto images = CarriedImages::open_file(store_file());
    ASSERT_TRUE(images) << images.error().message();
    EXPECT_EQ(images->header().id, "test-1");
    EXPECT_EQ(images->header().ranges, ranges());
    EXPECT_EQ(images->manifest().value(), R"({"a":1})");
    ASSERT_TRUE(images->extract(directory("out"), "images", threads));
    EXPECT_EQ(os::read_file(directory_ + "/out/pre/pages-1.img").value(), pages_);
    EXPECT_EQ(os::read_file(directory_ + "/out/dump/core-1.img").value(), small_);
    EXPECT_EQ(os::read_file(directory_ + "/out/dump/deep/er/x").value(), "deep");
    EXPECT_EQ(os::read_file(directory_ + "/out/pre/empty.img").value(), "");
    EXPECT_EQ(os::read_link(directory_ + "/out/dump/parent").value(), "../pre");
    struct stat status = {};
    ASSERT_EQ(stat((directory_ + "/out/pre/empty.img").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0640U);
    EXPECT_THAT(os::list_directory(directory_ + "/out").value(), ElementsAre("dump", "pre"));
    EXPECT_EQ(images->measured().files, 4U);
    EXPECT_GT(images->measured().bytes, pages_.size());
    ASSERT_TRUE(os::remove_tree(directory_ + "/out"));
    ASSERT_TRUE(os::remove_tree(directory_ + "/dump/parent"));
  }
}

TEST_F(CarriedImagesTest, ExtractsEverythingOrNothingThatIsNotThere) {
  write_store();
  auto images = CarriedImages::open_file(store_file()).value();
  ASSERT_TRUE(images.extract(directory("all")));
  EXPECT_THAT(os::list_directory(directory_ + "/all").value(),
              ElementsAre("extra", "images", "manifest.json"));
  EXPECT_THAT(images.extract(directory("x"), "imag").error().message(), HasSubstr("no folder 'imag'"));
  EXPECT_FALSE(images.read("images"));
  EXPECT_FALSE(images.read("nothing"));
  EXPECT_FALSE(images.extract(directory("all"))) << "files that are there already must not be written over";
}

TEST_F(CarriedImagesTest, DamageAnywhereIsFoundBeforeSuccessIsReported) {
  write_store();
  auto sound = CarriedImages::open_file(store_file()).value();
  ASSERT_TRUE(sound.verify());
  std::vector<std::uint64_t> offsets{0, 9, 100, 4095};
  for (const auto& file : sound.files())
    for (std::uint64_t at = 0; at < file.size; at += std::max<std::uint64_t>(file.size / 5, 1))
      offsets.push_back(file.offset + at);
  for (auto at = sound.header().table_offset; at < sound.header().used_length; at += 11)
    offsets.push_back(at);
  int folder = 0;
  const auto path = store_file();
  for (const auto offset : offsets) {
    damage(path, offset);
    auto images = CarriedImages::open_file(path);
    if (!images) {
      damage(path, offset);  // the same once more puts it right
      continue;
    }
    const auto verified = images->verify();
    ASSERT_FALSE(verified) << "offset " << offset;
    EXPECT_THAT(verified.error().message(), HasSubstr("wrong checksum"));
    EXPECT_FALSE(images->extract(directory("out" + std::to_string(++folder)))) << "offset " << offset;
    EXPECT_FALSE(images->save_to(directory_ + "/saved"));
    EXPECT_FALSE(os::exists(directory_ + "/saved"));
    ASSERT_TRUE(os::remove_tree(directory_ + "/out" + std::to_string(folder)));
    damage(path, offset);
  }
  EXPECT_GT(folder, 10);
}

TEST_F(CarriedImagesTest, TruncationAnywhereIsFoundWhenItIsOpened) {
  write_store();
  for (std::uint64_t length : {std::uint64_t{0}, std::uint64_t{10}, std::uint64_t{4095}, std::uint64_t{4096},
                               kMiB, used_ / 2, used_ - 1}) {
    const auto images = CarriedImages::open_file(store_file(length));
    ASSERT_FALSE(images) << length;
  }
}

TEST_F(CarriedImagesTest, IsSavedAndReadAgain) {
  write_store();
  const std::string saved = directory_ + "/saved";
  ASSERT_TRUE(CarriedImages::open_file(store_file()).value().save_to(saved));
  struct stat status = {};
  ASSERT_EQ(stat(saved.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  EXPECT_LT(static_cast<std::uint64_t>(status.st_size), kSize);
  EXPECT_FALSE(os::exists(saved + ".part"));
  auto images = CarriedImages::open_file(saved);
  ASSERT_TRUE(images) << images.error().message();
  EXPECT_TRUE(images->verify());
  ASSERT_TRUE(images->extract(directory("again"), "images/pre"));
  EXPECT_EQ(os::read_file(directory_ + "/again/pages-1.img").value(), pages_);
}

// /dev/mem stands for a file whose offsets are physical addresses: so does a sparse file.
TEST_F(CarriedImagesTest, IsReadFromItsPhysicalRanges) {
  write_store();
  const std::string device = directory_ + "/mem";
  const auto fd = os::open_file(device, O_RDWR | O_CREAT);
  ASSERT_TRUE(fd);
  std::uint64_t offset = 0;
  for (const auto& range : ranges()) {
    std::uint64_t at = range.start;
    ASSERT_TRUE(
        memory().visit(offset, range.size, range.size, [&](std::span<std::byte> piece) -> Result<void> {
          EXPECT_EQ(pwrite(fd->get(), piece.data(), piece.size(), static_cast<off_t>(at)),
                    static_cast<ssize_t>(piece.size()));
          at += piece.size();
          return {};
        }));
    offset += range.size;
  }
  auto images = CarriedImages::open(0x40000000, device);
  ASSERT_TRUE(images) << images.error().message();
  EXPECT_TRUE(images->verify());
  EXPECT_EQ(images->read("images/pre/pages-1.img").value(), pages_);
  EXPECT_FALSE(CarriedImages::open(0x50000000, device));
  // The same header elsewhere: somebody gave a wrong address.
  std::vector<std::byte> page(kPageSize);
  ASSERT_TRUE(os::pread_all(*fd, page, 0x40000000));
  ASSERT_EQ(pwrite(fd->get(), page.data(), page.size(), 0x60000000), 4096);
  EXPECT_THAT(CarriedImages::open(0x60000000, device).error().message(),
              HasSubstr("says that it lies at 0x40000000"));
}

}  // namespace
}  // namespace upkeep::memory
