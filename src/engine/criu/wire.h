#pragma once
// Protocol Buffers on the wire, as far as criu's messages need them: variable-length integers and
// length-delimited fields (https://protobuf.dev/programming-guides/encoding). Messages are small and few, so
// that the library, which upkeep-init would have to link statically, is not worth its size.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace upkeep::engine::criu {

// Appends fields; the order of the calls is the order on the wire.
class WireWriter {
 public:
  void varint(std::uint32_t field, std::uint64_t value);
  void int32(std::uint32_t field,
             std::int32_t value);  // negative values take ten bytes, as for every signed type but sint
  void boolean(std::uint32_t field, bool value) { varint(field, value ? 1 : 0); }
  void bytes(std::uint32_t field, std::string_view value);
  void message(std::uint32_t field, const WireWriter& value) { bytes(field, value.text()); }
  void raw(std::string_view field) { text_.append(field); }  // WireField::whole of another message
  const std::string& text() const { return text_; }

 private:
  void raw_varint(std::uint64_t value);
  std::string text_;
};

struct WireField {
  std::uint32_t number = 0;
  enum class Type { varint, fixed64, bytes, fixed32 } type = Type::varint;
  std::uint64_t value = 0;  // varint and fixed types
  std::string_view bytes;   // into the message that is read
  std::string_view whole;   // the field as it is there, number and type included
};

// Reads one field after the other. Whatever is not well-formed ends the reading and sets broken(): truncated
// or overlong integers, lengths beyond the end, field number 0, the group types that protobuf itself has
// given up.
class WireReader {
 public:
  explicit WireReader(std::string_view message) : rest_(message) {}
  std::optional<WireField> next();  // nothing: the end, or broken
  bool broken() const { return broken_; }

 private:
  std::optional<std::uint64_t> raw_varint();
  std::optional<std::uint64_t> fixed(std::size_t size);
  std::string_view rest_;
  bool broken_ = false;
};

}  // namespace upkeep::engine::criu
