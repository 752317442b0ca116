#include "engine/criu/wire.h"

namespace upkeep::engine::criu {

void WireWriter::raw_varint(std::uint64_t value) {
  while (value >= 0x80) {
    text_.push_back(static_cast<char>(0x80U | (value & 0x7fU)));
    value >>= 7;
  }
  text_.push_back(static_cast<char>(value));
}

void WireWriter::varint(std::uint32_t field, std::uint64_t value) {
  raw_varint(std::uint64_t{field} << 3);
  raw_varint(value);
}

void WireWriter::int32(std::uint32_t field, std::int32_t value) {
  varint(field, static_cast<std::uint64_t>(std::int64_t{value}));
}

void WireWriter::bytes(std::uint32_t field, std::string_view value) {
  raw_varint((std::uint64_t{field} << 3) | 2U);
  raw_varint(value.size());
  text_.append(value);
}

std::optional<std::uint64_t> WireReader::raw_varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 70 && !rest_.empty(); shift += 7) {
    auto byte = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    if (shift == 63 && byte > 1) return std::nullopt;  // more than 64 bits
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if ((byte & 0x80U) == 0) return value;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> WireReader::fixed(std::size_t size) {
  if (rest_.size() < size) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i)
    value |= std::uint64_t{static_cast<std::uint8_t>(rest_[i])} << (8 * i);
  rest_.remove_prefix(size);
  return value;
}

std::optional<WireField> WireReader::next() {
  if (rest_.empty() || broken_) return std::nullopt;
  const std::string_view begin = rest_;
  broken_ = true;  // until the field has been read whole
  auto key = raw_varint();
  if (!key || (*key >> 3) == 0 || (*key >> 3) > 0x1fffffff) return std::nullopt;
  WireField field;
  field.number = static_cast<std::uint32_t>(*key >> 3);
  std::optional<std::uint64_t> value;
  switch (*key & 7U) {
    case 0:
      value = raw_varint();
      break;
    case 1:
      field.type = WireField::Type::fixed64;
      value = fixed(8);
      break;
    case 2:
      field.type = WireField::Type::bytes;
      value = raw_varint();
      if (value && *value > rest_.size()) return std::nullopt;
      if (value) {
        field.bytes = rest_.substr(0, *value);
        rest_.remove_prefix(*value);
      }
      break;
    case 5:
      field.type = WireField::Type::fixed32;
      value = fixed(4);
      break;
    default:
      return std::nullopt;
  }
  if (!value) return std::nullopt;
  field.value = field.type == WireField::Type::bytes ? 0 : *value;
  field.whole = begin.substr(0, begin.size() - rest_.size());
  broken_ = false;
  return field;
}

}  // namespace upkeep::engine::criu
