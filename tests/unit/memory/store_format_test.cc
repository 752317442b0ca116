#include "memory/store_format.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

namespace upkeep::memory {
namespace {

using testing::HasSubstr;

StoreHeader sample_header() {
  StoreHeader header;
  header.id = "20261123-1";
  header.ranges = {{0x40000000, 4 * kMiB}, {0x50000000, 2 * kMiB}};
  header.total_length = 6 * kMiB;
  header.table_offset = 2 * kMiB;
  header.table_length = 0;
  header.used_length = 2 * kMiB;
  header.table_checksum = checksum({});
  return header;
}

StoredFile file(std::string name, std::uint64_t offset, std::uint64_t size,
                std::uint32_t mode = S_IFREG | 0600) {
  StoredFile result{std::move(name), mode, size, offset, {}};
  result.chunk_checksums.assign(chunk_count(size), 0x1122334455667788);
  return result;
}

// Header and table that fit together.
struct Sample {
  explicit Sample(const std::vector<StoredFile>& files)
      : header(sample_header()), table(encode_table(files)) {
    header.table_length = table.size();
    header.used_length = header.table_offset + table.size();
    header.table_checksum = checksum(table);
  }
  Result<std::vector<StoredFile>> parse() const { return parse_table(table, header); }
  StoreHeader header;
  std::vector<std::byte> table;
};

TEST(Checksum, IsXxh64) {
  EXPECT_EQ(checksum({}), 0xef46db3751d8e999U);  // the algorithm's published value for no input, seed 0
  const std::string text = "upkeep upkeep upkeep upkeep upkeep upkeep";
  RunningChecksum sum;
  for (const char& c : text) sum.add(std::as_bytes(std::span(&c, 1)));
  EXPECT_EQ(sum.value(), checksum(std::as_bytes(std::span(text))));
}

TEST(Header, RoundTrip) {
  const auto header = sample_header();
  const auto parsed = parse_header(encode_header(header).value());
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->id, header.id);
  EXPECT_EQ(parsed->ranges, header.ranges);
  EXPECT_EQ(parsed->total_length, header.total_length);
  EXPECT_EQ(parsed->table_offset, header.table_offset);
}

TEST(Header, EveryFlippedByteIsNoticed) {
  const auto good = encode_header(sample_header()).value();
  for (std::size_t i = 0; i < good.size(); ++i)
    for (const auto flip : {std::byte{0x01}, std::byte{0x80}}) {
      auto bad = good;
      bad[i] ^= flip;
      EXPECT_FALSE(parse_header(bad)) << "byte " << i;
    }
}

TEST(Header, EveryTruncationIsNoticed) {
  const auto good = encode_header(sample_header()).value();
  for (std::size_t length = 0; length < good.size(); length += 7)
    EXPECT_FALSE(parse_header(std::span(good).first(length)));
}

TEST(Header, AnotherVersionIsNamed) {
  auto page = encode_header(sample_header()).value();
  page[8] = std::byte{9};
  EXPECT_THAT(parse_header(page).error().message(), HasSubstr("version 9"));
  EXPECT_THAT(parse_header(HeaderBytes{}).error().message(), HasSubstr("no image store"));
}

TEST(Header, ContradictionsAreRefused) {
  const auto refused = [](auto change) {
    auto header = sample_header();
    change(header);
    return !encode_header(header);
  };
  EXPECT_TRUE(refused([](StoreHeader& h) { h.ranges.clear(); }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.ranges[1].start = h.ranges[0].start + 2 * kMiB; }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.ranges[1].start += 1; }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.ranges[1].size += kPageSize; }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.ranges[1].start = UINT64_MAX - kPageSize + 1; }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.used_length = h.total_length + 1; }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.table_offset = 8; }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.table_offset = h.used_length + 8; }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.table_length = UINT64_MAX; }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.id = std::string(64, 'x'); }));
  EXPECT_TRUE(refused([](StoreHeader& h) { h.ranges.assign(65, {kGiB, kPageSize}); }));
}

TEST(Table, RoundTrip) {
  const Sample sample({file("images", 0, 0, S_IFDIR | 0700), file("images/pages-1.img", 4096, 9 * kKiB),
                       file("images/parent", 16384, 4, S_IFLNK | 0777), file("empty", 0, 0)});
  const auto files = sample.parse();
  ASSERT_TRUE(files) << files.error().message();
  ASSERT_EQ(files->size(), 4U);
  EXPECT_TRUE((*files)[0].is_folder());
  EXPECT_EQ((*files)[1].name, "images/pages-1.img");
  EXPECT_EQ((*files)[1].chunk_checksums.size(), 1U);
  EXPECT_TRUE((*files)[2].is_link());
  EXPECT_EQ((*files)[3].size, 0U);
}

TEST(Table, EveryFlippedByteIsNoticed) {
  const Sample good({file("a", 4096, 9 * kKiB), file("b", 20480, 5 * kMiB / 1024)});
  for (std::size_t i = 0; i < good.table.size(); ++i) {
    Sample bad = good;
    bad.table[i] ^= std::byte{0x10};
    EXPECT_FALSE(bad.parse()) << "byte " << i;
  }
}

// Behind a right checksum the parser still trusts nothing: flip every bit, fix the checksum, and whatever is
// accepted must lie inside.
TEST(Table, FlippedBytesBehindARightChecksumNeverLeadOutside) {
  const Sample good({file("d", 0, 0, S_IFDIR | 0700), file("d/a", 4096, 9 * kKiB), file("d/b", 20480, 5000)});
  for (std::size_t i = 0; i < good.table.size() * 8; ++i) {
    Sample bad = good;
    bad.table[i / 8] ^= static_cast<std::byte>(1U << (i % 8));
    bad.header.table_checksum = checksum(bad.table);
    const auto files = bad.parse();
    if (!files) continue;
    for (const auto& entry : *files) {
      EXPECT_TRUE(check_name(entry.name));
      EXPECT_LE(entry.offset + entry.size, bad.header.table_offset);
      EXPECT_EQ(entry.chunk_checksums.size(), chunk_count(entry.size));
    }
  }
}

TEST(Table, EveryTruncationIsNoticed) {
  const Sample good({file("a", 4096, 9 * kKiB), file("b", 20480, 100)});
  for (std::size_t length = 1; length < good.table.size(); ++length) {
    Sample bad = good;
    bad.table.resize(length);
    EXPECT_FALSE(bad.parse());
    bad.header.table_length = length;
    bad.header.used_length = bad.header.table_offset + length;
    bad.header.table_checksum = checksum(bad.table);
    const auto files = bad.parse();
    if (files) {
      EXPECT_EQ(files->size(), 1U) << "only the cut between two files leaves a table";
    }
  }
}

TEST(Table, NonsenseIsRefused) {
  const auto error = [](const std::vector<StoredFile>& files) {
    const auto parsed = Sample(files).parse();
    return parsed ? std::string() : parsed.error().message();
  };
  EXPECT_THAT(error({file("a", 4096, 5000), file("b", 8192, 100)}), HasSubstr("overlap"));
  EXPECT_THAT(error({file("a", 0, 100)}), HasSubstr("outside"));
  EXPECT_THAT(error({file("a", 2 * kMiB - 10, 100)}), HasSubstr("outside"));
  EXPECT_THAT(error({file("a", UINT64_MAX - 10, 100)}), HasSubstr("outside"));
  EXPECT_THAT(error({file("a", 4096, 0)}), HasSubstr("has a place"));
  EXPECT_THAT(error({file("a", 4096, 8), file("a", 8192, 8)}), HasSubstr("twice"));
  EXPECT_THAT(error({file("d/a", 4096, 8)}), HasSubstr("not there"));
  EXPECT_THAT(error({file("d", 4096, 8), file("d/a", 8192, 8)}), HasSubstr("not there"));
  EXPECT_THAT(error({file("l", 4096, 8, S_IFLNK | 0777), file("l/a", 8192, 8)}), HasSubstr("not there"));
  EXPECT_THAT(error({file("d", 4096, 8, S_IFDIR | 0700)}), HasSubstr("has content"));
  EXPECT_THAT(error({file("l", 0, 0, S_IFLNK | 0777)}), HasSubstr("impossible target"));
  EXPECT_THAT(error({file("n", 4096, 8, S_IFCHR | 0600)}), HasSubstr("neither"));
  for (const char* name : {"/etc/passwd", "../x", "a/../b", "a//b", ".", "a/", ""})
    EXPECT_THAT(error({file(name, 4096, 8)}), HasSubstr("cannot be a name")) << name;
}

}  // namespace
}  // namespace upkeep::memory
