#include "os/btf.h"

#include <cstring>
#include <limits>

#include "os/file.h"

namespace upkeep::os {
namespace {

// linux/btf.h
constexpr std::uint16_t kMagic = 0xeb9f;
enum Kind : std::uint32_t {
  kInt = 1,
  kPointer,
  kArray,
  kStruct,
  kUnion,
  kEnum,
  kForward,
  kTypedef,
  kVolatile,
  kConst,
  kRestrict,
  kFunction,
  kPrototype,
  kVariable,
  kSection,
  kFloat,
  kDeclarationTag,
  kTypeTag,
  kEnum64
};
struct Header {
  std::uint16_t magic;
  std::uint8_t version, flags;
  std::uint32_t length, types, types_length, names, names_length;
};
static_assert(sizeof(Header) == 24);
constexpr std::size_t kTypeSize = 12, kMemberSize = 12;
constexpr int kDeepest = 32;

// Bytes behind the common part of a type. Unknown kinds have a length that nobody knows.
std::optional<std::size_t> length_of_more(std::uint32_t kind, std::size_t count) {
  switch (kind) {
    case kPointer:
    case kForward:
    case kTypedef:
    case kVolatile:
    case kConst:
    case kRestrict:
    case kFunction:
    case kFloat:
    case kTypeTag:
      return 0;
    case kInt:
    case kVariable:
    case kDeclarationTag:
      return 4;
    case kArray:
      return 12;
    case kEnum:
    case kPrototype:
      return 8 * count;
    case kStruct:
    case kUnion:
    case kSection:
    case kEnum64:
      return 12 * count;
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<Btf> Btf::of_kernel() {
  TRY_ASSIGN(auto text, read_file("/sys/kernel/btf/vmlinux"));
  return parse(std::move(text));
}

Result<Btf> Btf::parse(std::string text) {
  Btf btf;
  Header header = {};
  if (text.size() < sizeof header) return Err("this is no BTF: it is too short");
  std::memcpy(&header, text.data(), sizeof header);
  if (header.magic != kMagic || header.version != 1) return Err("this is no BTF, or a newer one");
  const auto end_of = [&](std::uint32_t begin, std::uint32_t length) {
    return std::size_t{header.length} + begin + length;
  };
  const auto types_end = end_of(header.types, header.types_length);
  btf.names_ = end_of(header.names, 0);
  btf.names_end_ = end_of(header.names, header.names_length);
  if (types_end > text.size() || btf.names_end_ > text.size() || header.names_length == 0 ||
      text[btf.names_end_ - 1] != '\0')
    return Err("this BTF is cut short");
  btf.text_ = std::move(text);
  if (types_end > std::numeric_limits<std::uint32_t>::max()) return Err("this BTF is too long");
  constexpr std::size_t kUsualSize = 24;  // of a type, with what belongs to its kind
  btf.types_.reserve(header.types_length / kUsualSize);
  btf.types_.push_back(0);
  for (auto at = end_of(header.types, 0); at < types_end;) {
    if (types_end - at < kTypeSize) return Err("the last type of this BTF is cut short");
    const auto type = btf.type_at(at);
    const auto more = length_of_more(type.kind(), type.count());
    if (!more || types_end - at - kTypeSize < *more)
      return Err("type {} of this BTF is unknown", btf.types_.size());
    // The text is long, so views of it stay when the object moves.
    if (type.kind() == kStruct) btf.structures_.emplace(btf.name(type.name), static_cast<std::uint32_t>(at));
    btf.types_.push_back(static_cast<std::uint32_t>(at));
    at += kTypeSize + *more;
  }
  return btf;
}

std::uint32_t Btf::word(std::size_t at) const {
  std::uint32_t word = 0;
  std::memcpy(&word, text_.data() + at, sizeof word);
  return word;
}

std::string_view Btf::name(std::uint32_t offset) const {
  return offset < names_end_ - names_ ? std::string_view(text_.data() + names_ + offset) : std::string_view();
}

Btf::Type Btf::type_at(std::size_t at) const {
  return {word(at), word(at + 4), word(at + 8), at + kTypeSize};
}

std::optional<Btf::Type> Btf::type(std::uint32_t id) const {
  if (id >= types_.size()) return std::nullopt;
  return id == 0 ? Type{0, 0, 0, 0} : type_at(types_[id]);
}

std::optional<Btf::Type> Btf::structure(std::string_view name) const {
  const auto found = structures_.find(name);
  return found == structures_.end() || name.empty() ? std::nullopt : std::optional(type_at(found->second));
}

std::optional<std::uint32_t> Btf::function(std::string_view wanted) const {
  for (std::uint32_t id = 1; id < types_.size() && !wanted.empty(); ++id) {
    const auto its = type_at(types_[id]);
    if (its.kind() == kFunction && name(its.name) == wanted) return id;
  }
  return std::nullopt;
}

Btf::Field Btf::field(const Type& of, std::uint32_t index) const {
  const auto at = of.more + std::size_t{index} * kMemberSize;
  const auto place = word(at + 8);
  const bool has_widths = of.info >> 31U != 0;
  return {word(at), word(at + 4), has_widths ? place & 0xffffffU : place, has_widths && place >> 24U != 0};
}

std::optional<Btf::Type> Btf::without_modifiers(std::uint32_t id) const {
  for (int depth = 0; depth < kDeepest; ++depth) {
    const auto its = type(id);
    if (!its) return std::nullopt;
    const auto kind = its->kind();
    if (kind != kTypedef && kind != kVolatile && kind != kConst && kind != kRestrict && kind != kTypeTag)
      return its;
    id = its->size_or_type;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> Btf::size(std::uint32_t id, int depth) const {
  const auto its = without_modifiers(id);
  if (!its || depth == 0) return std::nullopt;
  switch (its->kind()) {
    case kPointer:
      return 8;
    case kArray: {
      const auto one = size(word(its->more), depth - 1);
      return one ? std::optional(*one * word(its->more + 8)) : std::nullopt;
    }
    case kInt:
    case kStruct:
    case kUnion:
    case kEnum:
    case kEnum64:
    case kFloat:
      return its->size_or_type;
    default:
      return std::nullopt;
  }
}

std::optional<Btf::Found> Btf::find(const Type& in, std::string_view wanted, int depth) const {
  if (wanted.empty()) return std::nullopt;
  for (std::uint32_t i = 0; i < in.count(); ++i) {
    const auto one = field(in, i);
    const auto its_name = name(one.name);
    if (its_name == wanted) return one.of_bits ? std::nullopt : std::optional(Found{one.bits, one.type});
    const auto inner = its_name.empty() ? without_modifiers(one.type) : std::nullopt;
    if (!inner || depth == 0 || (inner->kind() != kStruct && inner->kind() != kUnion)) continue;
    if (const auto found = find(*inner, wanted, depth - 1)) return Found{one.bits + found->bits, found->type};
  }
  return std::nullopt;
}

std::optional<Btf::Member> Btf::member(std::string_view of, std::string_view path) const {
  auto in = structure(of);
  std::uint64_t bits = 0;
  for (;;) {
    if (!in || (in->kind() != kStruct && in->kind() != kUnion)) return std::nullopt;
    const auto dot = path.find('.');
    const auto found = find(*in, path.substr(0, dot), kDeepest);
    if (!found) return std::nullopt;
    bits += found->bits;
    if (dot == std::string_view::npos) {
      const auto its_size = size(found->type, kDeepest);
      return its_size ? std::optional(Member{bits / 8, *its_size}) : std::nullopt;
    }
    path.remove_prefix(dot + 1);
    in = without_modifiers(found->type);
  }
}

std::optional<std::uint64_t> Btf::size_of(std::string_view of) const {
  const auto its = structure(of);
  return its ? std::optional<std::uint64_t>(its->size_or_type) : std::nullopt;
}

void Btf::collect(const Type& in, std::vector<std::string_view>& names, int depth) const {
  for (std::uint32_t i = 0; i < in.count(); ++i) {
    const auto one = field(in, i);
    const auto its_name = name(one.name);
    if (!its_name.empty()) {
      names.push_back(its_name);
      continue;
    }
    const auto inner = without_modifiers(one.type);
    if (inner && depth != 0 && (inner->kind() == kStruct || inner->kind() == kUnion))
      collect(*inner, names, depth - 1);
  }
}

std::vector<std::string_view> Btf::members(std::string_view of) const {
  std::vector<std::string_view> names;
  if (const auto in = structure(of)) collect(*in, names, kDeepest);
  return names;
}

}  // namespace upkeep::os
