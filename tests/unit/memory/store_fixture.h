#pragma once
// A store in ordinary memory, in two ranges of which the first is in two pieces, as huge pages would be.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "../../test_directory.h"
#include "memory/carried_images.h"
#include "memory/store_writer.h"

namespace upkeep::memory {

class StoreFixture : public testing::Test {
 protected:
  static constexpr std::uint64_t kSize = 24 * kMiB;

  void SetUp() override { bytes_.assign(kSize, std::byte{0xee}); }

  StoreMemory memory() {
    // The pieces lie in another order in this process than physically.
    const std::span<std::byte> all(bytes_);
    return StoreMemory(
        {all.subspan(16 * kMiB, 8 * kMiB), all.subspan(0, 6 * kMiB), all.subspan(6 * kMiB, 10 * kMiB)});
  }
  std::vector<PhysicalRange> ranges() const { return {{0x40000000, 14 * kMiB}, {0x50000000, 10 * kMiB}}; }
  StoreWriter writer(unsigned threads = 2) {
    return StoreWriter::create(memory(), ranges(), "test-1", threads).value();
  }

  // The store as a file, in the order of offsets.
  std::string store_file(std::uint64_t length = kSize) {
    std::string content;
    EXPECT_TRUE(memory().visit(0, length, length, [&](std::span<std::byte> piece) -> Result<void> {
      content.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      return {};
    }));
    const std::string path = directory_ + "/store";
    std::ofstream(path, std::ios::binary) << content;  // not replace_file: nothing here needs to be durable
    return path;
  }
  void put(const std::string& name, const std::string& content, mode_t mode = 0600) {
    const std::string path = directory_ + "/" + name;
    ASSERT_TRUE(os::make_directories(std::filesystem::path(path).parent_path()));
    std::ofstream(path, std::ios::binary) << content;
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  }
  os::Fd directory(const std::string& name) {  // made, and open until the test ends
    EXPECT_TRUE(os::make_directories(directory_ + "/" + name));
    open_.push_back(os::open_file(directory_ + "/" + name, O_RDONLY | O_DIRECTORY).value());
    return open_.back();
  }
  static std::string random_text(std::size_t size, unsigned seed) {
    std::mt19937_64 random(seed);
    std::string text(size, '\0');
    for (auto& c : text) c = static_cast<char>(random());
    return text;
  }

  TestDirectory test_;
  const std::string& directory_ = test_.path();
  std::vector<std::byte> bytes_;
  std::vector<os::UniqueFd> open_;
};

}  // namespace upkeep::memory
