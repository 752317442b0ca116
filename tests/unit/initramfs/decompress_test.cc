#include "initramfs/decompress.h"

#include <gmock/gmock.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "kernel_tree.h"
#include "os/file.h"

namespace upkeep::initramfs {
namespace {

using testing::HasSubstr;

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(::deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(::deflateBound(&stream, text.size()) + 64, '\0'), in = text;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  ::deflateEnd(&stream);
  return out;
}

std::string xz(const std::string& text) {
  std::string out(::lzma_stream_buffer_bound(text.size()), '\0');
  std::size_t size = 0;
  // CRC32, as the kernel's own decompressor wants it
  EXPECT_EQ(::lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, nullptr,
                                      reinterpret_cast<const std::uint8_t*>(text.data()), text.size(),
                                      reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size()),
            LZMA_OK);
  out.resize(size);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(::ZSTD_compressBound(text.size()), '\0');
  const auto size = ::ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3);
  EXPECT_EQ(::ZSTD_isError(size), 0U);
  out.resize(size);
  return out;
}

struct Format {
  const char* name;
  std::string (*compress)(const std::string&);
};
class Decompress : public testing::TestWithParam<Format> {};

std::string sample(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 7;
  for (auto& c : text) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 28);
  }
  return text;
}

TEST_P(Decompress, RoundTrip) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{256} << 10,
                                 (std::size_t{1} << 20) + 1}) {
    const auto text = sample(size);
    EXPECT_EQ(decompress(GetParam().compress(text)), text) << size;
  }
}

TEST_P(Decompress, EveryTruncationIsAnError) {
  const auto whole = GetParam().compress(sample(3000));
  for (std::size_t size = 6; size < whole.size(); ++size) {
    const std::string cut = whole.substr(0, size);
    ASSERT_FALSE(decompress(cut)) << size;
  }
}

TEST_P(Decompress, DamageDoesNotCrashAndRubbishBehindIsAnError) {
  const auto whole = GetParam().compress(sample(3000));
  for (std::size_t at = 6; at < whole.size(); ++at) {
    auto damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    const auto out = decompress(damaged, 1 << 20);
    EXPECT_TRUE(!out || out->size() <= std::size_t{1} << 20) << at;
  }
  EXPECT_FALSE(decompress(whole + "rubbish"));
}

TEST_P(Decompress, BoundedAgainstBombs) {
  const auto bomb = GetParam().compress(std::string(std::size_t{8} << 20, '\0'));
  EXPECT_THAT(decompress(bomb, std::size_t{4} << 20).error().message(), HasSubstr("more than 4 MiB"));
  EXPECT_TRUE(decompress(bomb, std::size_t{8} << 20));
}

INSTANTIATE_TEST_SUITE_P(Formats, Decompress,
                         testing::Values(Format{"gzip", gzip}, Format{"xz", xz}, Format{"zstd", zstd}),
                         [](const auto& format) { return std::string(format.param.name); });

TEST(DecompressPlain, IsGivenBackAsItIs) {
  for (const std::string& text : {std::string(),
                                  std::string("\x7f"
                                              "ELF"),
                                  std::string("\x1f")})
    EXPECT_EQ(decompress(text), text);
}

TEST(ReadModule, WhateverItsCompression) {
  KernelTree tree;
  tree.add({"m", {}, {}, {}});
  const auto plain = *os::read_file(tree.module_file("m"));
  EXPECT_EQ(read_module(tree.module_file("m")), plain);
  for (const auto& format : {Format{"gzip", gzip}, Format{"xz", xz}, Format{"zstd", zstd}}) {
    tree.write(tree.root() / "m.ko.z", format.compress(plain + "~Module signature appended~\n"));
    EXPECT_EQ(read_module(tree.root() / "m.ko.z"), plain + "~Module signature appended~\n") << format.name;
  }
}

TEST(ReadModule, WhatIsNoModule) {
  KernelTree tree;
  tree.write(tree.root() / "text.ko", "#!/bin/sh\n");
  tree.write(tree.root() / "inside.ko", xz("#!/bin/sh\n"));
  EXPECT_THAT(read_module(tree.root() / "text.ko").error().message(), HasSubstr("not a kernel module"));
  EXPECT_THAT(read_module(tree.root() / "inside.ko").error().message(), HasSubstr("not a kernel module"));
  EXPECT_THAT(read_module("/proc/self/exe").error().message(),
              HasSubstr("not a kernel module"));  // a program, not relocatable
  EXPECT_EQ(read_module(tree.root() / "missing.ko").error().code(), ENOENT);
}

}  // namespace
}  // namespace upkeep::initramfs
