#pragma once
// How this kernel lays out its structures, as it says itself: BTF, the kernel's documentation
// bpf/btf.rst, in /sys/kernel/btf/vmlinux (5.4 on, CONFIG_DEBUG_INFO_BTF). Offsets differ with every version
// and configuration; names are looked up, never numbers remembered.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/result.h"

namespace upkeep::os {

class Btf {
 public:
  // In bytes. What is only bits of a byte cannot be looked up.
  struct Member {
    std::uint64_t offset = 0, size = 0;
  };

  // Text that is no BTF, or that contradicts itself, is an error.
  static Result<Btf> parse(std::string text);
  static Result<Btf> of_kernel();

  // "refs.percpu_count_ptr" of "io_ring_ctx": members of members; those of nameless unions and structures
  // count as the structure's own. None: there is no such member here.
  std::optional<Member> member(std::string_view structure, std::string_view path) const;
  std::optional<std::uint64_t> size_of(std::string_view structure) const;
  // Names of its members, those of nameless ones among them; empty: there is no such structure here.
  std::vector<std::string_view> members(std::string_view structure) const;
  // The number by which bpf(2) calls a function of the kernel.
  std::optional<std::uint32_t> function(std::string_view name) const;

 private:
  struct Type {
    std::uint32_t name, info, size_or_type;
    std::size_t more;  // where what belongs to the kind lies in text_
    std::uint32_t kind() const { return info >> 24U & 0x1fU; }
    std::uint32_t count() const { return info & 0xffffU; }
  };
  struct Field {
    std::uint32_t name, type, bits;
    bool of_bits;
  };
  Type type_at(std::size_t at) const;
  std::optional<Type> type(std::uint32_t id) const;
  std::optional<Type> structure(std::string_view name) const;
  std::uint32_t word(std::size_t at) const;
  std::string_view name(std::uint32_t offset) const;
  Field field(const Type& of, std::uint32_t index) const;
  std::optional<Type> without_modifiers(std::uint32_t id) const;
  std::optional<std::uint64_t> size(std::uint32_t id, int depth) const;
  struct Found {
    std::uint64_t bits;
    std::uint32_t type;
  };
  std::optional<Found> find(const Type& in, std::string_view wanted, int depth) const;
  void collect(const Type& in, std::vector<std::string_view>& names, int depth) const;

  std::string text_;
  std::size_t names_ = 0, names_end_ = 0;
  // Where they begin in text_: of the many there are, few are asked for.
  std::vector<std::uint32_t> types_;  // by number; [0] is void, which lies nowhere
  std::unordered_map<std::string_view, std::uint32_t> structures_;
};

}  // namespace upkeep::os
