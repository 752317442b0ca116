#include "os/btf.h"

#include <gtest/gtest.h>

#include <cstring>

namespace upkeep::os {
namespace {

// As the kernel's documentation bpf/btf.rst describes it.
class Writer {
 public:
  std::uint32_t name(const std::string& name) {
    const auto at = static_cast<std::uint32_t>(names_.size());
    names_ += name + '\0';
    return at;
  }
  void word(std::uint32_t word) { types_.append(reinterpret_cast<const char*>(&word), sizeof word); }
  void type(const std::string& its, std::uint32_t kind, std::uint32_t count, std::uint32_t size,
            bool bits = false) {
    word(its.empty() ? 0 : name(its));
    word((bits ? 1U << 31U : 0) | kind << 24U | count);
    word(size);
  }
  void member(const std::string& its, std::uint32_t type, std::uint32_t place) {
    word(its.empty() ? 0 : name(its));
    word(type);
    word(place);
  }
  std::string text() const {
    std::string text(24, '\0');
    const std::uint32_t words[] = {0x0001eb9f, 24, 0, size(types_), size(types_), size(names_)};
    std::memcpy(text.data(), words, sizeof words);
    return text + types_ + names_;
  }

 private:
  static std::uint32_t size(const std::string& text) { return static_cast<std::uint32_t>(text.size()); }
  std::string types_, names_ = std::string(1, '\0');
};

// struct inner { void *first; unsigned rest[4]; };
// struct outer { unsigned a; unsigned b : 1; union { struct inner in; unsigned long alone; }; typedef_t last;
// };
std::string example() {
  Writer writer;
  writer.type("unsigned int", 1, 0, 4), writer.word(32);                                       // 1
  writer.type("", 2, 0, 0);                                                                    // 2: a pointer
  writer.type("", 3, 0, 0), writer.word(1), writer.word(1), writer.word(4);                    // 3: an array
  writer.type("inner", 4, 2, 24), writer.member("first", 2, 0), writer.member("rest", 3, 64);  // 4
  writer.type("unsigned long", 1, 0, 8), writer.word(64);                                      // 5
  writer.type("", 5, 2, 24), writer.member("in", 4, 0), writer.member("alone", 5, 0);          // 6
  writer.type("typedef_t", 8, 0, 5);                                                           // 7
  writer.type("outer", 4, 4, 40, true);                                                        // 8
  writer.member("a", 1, 0), writer.member("b", 1, 1U << 24U | 32U), writer.member("", 6, 64),
      writer.member("last", 7, 256);
  return writer.text();
}

TEST(Btf, TellsWhereMembersLie) {
  const auto btf = Btf::parse(example());
  ASSERT_TRUE(btf) << btf.error().message();
  const auto at = [&](const char* structure, const char* path) {
    const auto member = btf->member(structure, path);
    return member ? std::pair<long, long>(member->offset, member->size) : std::pair<long, long>(-1, -1);
  };
  const auto pair = [](long offset, long size) { return std::pair(offset, size); };
  EXPECT_EQ(at("outer", "a"), pair(0, 4));
  EXPECT_EQ(at("outer", "alone"), pair(8, 8));
  EXPECT_EQ(at("outer", "in.first"), pair(8, 8));
  EXPECT_EQ(at("outer", "in.rest"), pair(16, 16));
  EXPECT_EQ(at("outer", "in"), pair(8, 24));
  EXPECT_EQ(at("outer", "last"), pair(32, 8));
  for (const char* none : {"b", "first", "in.other", "a.b", "", "in.", "."})
    EXPECT_EQ(at("outer", none), pair(-1, -1)) << none;
  EXPECT_EQ(at("other", "a"), pair(-1, -1));
  EXPECT_EQ(btf->size_of("inner"), 24U);
  EXPECT_EQ(btf->members("outer"), (std::vector<std::string_view>{"a", "b", "in", "alone", "last"}));
  EXPECT_TRUE(btf->members("other").empty());
}

TEST(Btf, CutShortOrAlteredItIsRefusedOrRead) {
  const auto good = example();
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(Btf::parse(good.substr(0, length)));
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const char byte : {'\0', '\x7f', '\xff'}) {
      auto altered = good;
      altered[at] = byte;
      if (const auto btf = Btf::parse(std::move(altered)))
        (void)btf->member("outer", "in.rest"), (void)btf->members("outer");
    }
  }
}

}  // namespace
}  // namespace upkeep::os
