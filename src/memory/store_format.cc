#include "memory/store_format.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

// Scalar: vector instructions are what emulated CPUs are slowest at, and XXH64 has no use for them anyway.
#define XXH_VECTOR XXH_SCALAR
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace upkeep::memory {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "UPKEEPST";

struct RangeOnWire {
  std::uint64_t start, size;
};
struct HeaderOnWire {
  char magic[8];
  std::uint32_t version;
  std::uint32_t header_size;
  char id[kLongestId + 1];
  std::uint64_t total_length, used_length;
  std::uint64_t table_offset, table_length, table_checksum;
  std::uint64_t range_count;
  RangeOnWire ranges[kMostRanges];
  char zero[4096 - 16 - (kLongestId + 1) - 6 * 8 - kMostRanges * 16 - 8];
  std::uint64_t checksum;  // of all bytes before it
};
static_assert(sizeof(HeaderOnWire) == kHeaderSize);
static_assert(std::is_trivially_copyable_v<HeaderOnWire>);

struct FileOnWire {
  std::uint32_t mode;
  std::uint32_t name_length;
  std::uint64_t size, offset;
  // then chunk_count(size) checksums, then the name, filled up with zeros to a multiple of 8
};

std::uint64_t padded(std::uint64_t length) { return (length + 7) / 8 * 8; }

template <typename T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// Reads values off the front of a span; an error rather than a byte behind its end.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : left_(bytes) {}
  bool at_end() const { return left_.empty(); }
  std::uint64_t left() const { return left_.size(); }
  template <typename T>
  bool take(T& value) {
    if (left_.size() < sizeof(T)) return false;
    std::memcpy(&value, left_.data(), sizeof(T));
    left_ = left_.subspan(sizeof(T));
    return true;
  }
  bool take(std::string& text, std::uint64_t length) {
    const std::uint64_t whole = padded(length);
    if (left_.size() < whole) return false;
    text.resize(length);
    std::ranges::transform(left_.first(length), text.begin(),
                           [](std::byte b) { return static_cast<char>(b); });
    const bool zeros = std::ranges::all_of(left_.subspan(length, whole - length),
                                           [](std::byte b) { return b == std::byte{0}; });
    left_ = left_.subspan(whole);
    return zeros;
  }

 private:
  std::span<const std::byte> left_;
};

Result<void> check_ranges(const StoreHeader& header) {
  if (header.ranges.empty()) return Err("the store's header lists no memory");
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < header.ranges.size(); ++i) {
    const auto& range = header.ranges[i];
    if (range.size == 0 || range.size % kPageSize != 0 || range.start % kPageSize != 0 ||
        range.start > (std::uint64_t{1} << 52U) || range.size > (std::uint64_t{1} << 52U))
      return Err("the store's header lists an impossible range: start {:#x}, size {:#x}", range.start,
                 range.size);
    for (std::size_t j = 0; j < i; ++j)
      if (range.overlaps(header.ranges[j]))
        return Err("two ranges of the store overlap: {} and {}", text(header.ranges[j]), text(range));
    sum += range.size;
  }
  if (sum != header.total_length)
    return Err("the store's ranges have {} bytes together, its header says {}", sum, header.total_length);
  return {};
}

Result<void> check_lengths(const StoreHeader& header) {
  if (header.used_length > header.total_length || header.table_offset < kHeaderSize ||
      header.table_offset > header.used_length ||
      header.table_length != header.used_length - header.table_offset)
    return Err("the store's lengths contradict each other: {} bytes, {} used, table at {} of {}",
               header.total_length, header.used_length, header.table_offset, header.table_length);
  return {};
}

Result<StoredFile> parse_file(Cursor& cursor) {
  FileOnWire wire{};
  if (!cursor.take(wire)) return Err("the store's table of files is cut off");
  StoredFile file;
  file.mode = wire.mode;
  file.size = wire.size;
  file.offset = wire.offset;
  if (wire.size > (std::uint64_t{1} << 52U) || chunk_count(wire.size) > cursor.left() / 8)
    return Err("the store's table of files is cut off");
  file.chunk_checksums.resize(chunk_count(wire.size));
  for (auto& sum : file.chunk_checksums)
    if (!cursor.take(sum)) return Err("the store's table of files is cut off");
  if (wire.name_length > kLongestName || !cursor.take(file.name, wire.name_length))
    return Err("a name in the store's table of files is cut off");
  TRY(check_name(file.name));
  const auto type = file.mode & static_cast<unsigned>(S_IFMT);
  if (type != S_IFREG && type != S_IFDIR && type != S_IFLNK)
    return Err("'{}' in the store is neither a file, a folder nor a link (mode {:o})", file.name, file.mode);
  if (file.is_folder() && file.size != 0) return Err("the folder '{}' in the store has content", file.name);
  if (file.is_link() && (file.size == 0 || file.size > kLongestName))
    return Err("the link '{}' in the store has an impossible target", file.name);
  return file;
}

Result<void> check_places(std::span<const StoredFile> files, std::uint64_t table_offset) {
  std::vector<const StoredFile*> by_offset;
  for (const auto& file : files) {
    if (file.size == 0) {
      if (file.offset != 0) return Err("'{}' in the store is empty, yet has a place", file.name);
      continue;
    }
    if (file.offset < kHeaderSize || file.offset > table_offset || file.size > table_offset - file.offset)
      return Err("'{}' lies outside the store: {} bytes at {}", file.name, file.size, file.offset);
    by_offset.push_back(&file);
  }
  std::ranges::sort(by_offset, {}, &StoredFile::offset);
  for (std::size_t i = 1; i < by_offset.size(); ++i)
    if (by_offset[i - 1]->offset + by_offset[i - 1]->size > by_offset[i]->offset)
      return Err("'{}' and '{}' overlap in the store", by_offset[i - 1]->name, by_offset[i]->name);
  return {};
}

}  // namespace

static_assert(sizeof(XXH64_state_t) <= 96 && std::is_trivially_copyable_v<XXH64_state_t>);

RunningChecksum::RunningChecksum() { XXH64_reset(new (state_.data()) XXH64_state_t, 0); }
void RunningChecksum::add(std::span<const std::byte> piece) {
  XXH64_update(std::launder(reinterpret_cast<XXH64_state_t*>(state_.data())), piece.data(), piece.size());
}
std::uint64_t RunningChecksum::value() const {
  return XXH64_digest(std::launder(reinterpret_cast<const XXH64_state_t*>(state_.data())));
}

std::uint64_t checksum(std::span<const std::byte> bytes) {
  const void* const data = bytes.data();
  if (data == nullptr) return XXH64("", 0, 0);  // no bytes at all
  return XXH64(data, bytes.size(), 0);
}

bool StoredFile::is_folder() const { return S_ISDIR(mode); }
bool StoredFile::is_link() const { return S_ISLNK(mode); }

Result<void> TreeCheck::add(const StoredFile& file) {
  const std::string_view name = file.name;
  if (const auto slash = name.rfind('/'); slash != std::string_view::npos) {
    const auto parent = is_folder_.find(name.substr(0, slash));
    if (parent == is_folder_.end() || !parent->second)
      return Err("'{}' in the image store would lie in a folder that is not there", name);
  }
  if (!is_folder_.emplace(name, file.is_folder()).second)
    return Err("'{}' is in the image store twice", name);
  return {};
}

Result<void> check_name(std::string_view name) {
  if (name.empty() || name.size() > kLongestName || name.find('\0') != std::string_view::npos)
    return Err("'{}' cannot be a name in the store", name);
  for (std::size_t at = 0; at <= name.size();) {
    const auto part = name.substr(at, std::min(name.find('/', at), name.size()) - at);
    if (part.empty() || part == "." || part == "..") return Err("'{}' cannot be a name in the store", name);
    at += part.size() + 1;
  }
  return {};
}

Result<HeaderBytes> encode_header(const StoreHeader& header) {
  if (header.ranges.size() > kMostRanges)
    return Err("the store has {} ranges, its header holds {}", header.ranges.size(), kMostRanges);
  if (header.id.empty() || header.id.size() > kLongestId)
    return Err("'{}' cannot be a store's id", header.id);
  TRY(check_ranges(header));
  TRY(check_lengths(header));
  HeaderOnWire wire{};
  std::ranges::copy(kMagic, wire.magic);
  wire.version = kStoreVersion;
  wire.header_size = kHeaderSize;
  std::ranges::copy(header.id, wire.id);
  wire.total_length = header.total_length;
  wire.used_length = header.used_length;
  wire.table_offset = header.table_offset;
  wire.table_length = header.table_length;
  wire.table_checksum = header.table_checksum;
  wire.range_count = header.ranges.size();
  for (std::size_t i = 0; i < header.ranges.size(); ++i)
    wire.ranges[i] = {header.ranges[i].start, header.ranges[i].size};
  wire.checksum = checksum(std::as_bytes(std::span(&wire, 1)).first(offsetof(HeaderOnWire, checksum)));
  HeaderBytes page;
  std::memcpy(page.data(), &wire, sizeof(wire));
  return page;
}

Result<StoreHeader> parse_header(std::span<const std::byte> page) {
  if (page.size() < kHeaderSize)
    return Err("the store's header is cut off: {} of {} bytes", page.size(), kHeaderSize);
  HeaderOnWire wire;
  std::memcpy(&wire, page.data(), sizeof(wire));
  if (std::string_view(wire.magic, sizeof(wire.magic)) != kMagic)
    return Err("there is no image store here (wrong magic number)");
  // The version is looked at before the checksum: another version may have another header.
  if (wire.version != kStoreVersion || wire.header_size != kHeaderSize)
    return Err("the image store has version {}, this upkeep reads version {}", wire.version, kStoreVersion);
  if (wire.checksum != checksum(page.first(offsetof(HeaderOnWire, checksum))))
    return Err("the store's header is corrupted (wrong checksum)");
  if (wire.range_count > kMostRanges) return Err("the store's header lists {} ranges", wire.range_count);
  StoreHeader header;
  header.id = std::string(wire.id, strnlen(wire.id, sizeof(wire.id)));
  header.total_length = wire.total_length;
  header.used_length = wire.used_length;
  header.table_offset = wire.table_offset;
  header.table_length = wire.table_length;
  header.table_checksum = wire.table_checksum;
  for (std::size_t i = 0; i < wire.range_count; ++i)
    header.ranges.push_back({wire.ranges[i].start, wire.ranges[i].size});
  TRY(check_ranges(header));
  TRY(check_lengths(header));
  return header;
}

std::uint64_t encoded_size(std::string_view name, std::uint64_t size) {
  return sizeof(FileOnWire) + 8 * chunk_count(size) + padded(name.size());
}

std::vector<std::byte> encode_table(std::span<const StoredFile> files) {
  std::vector<std::byte> table;
  for (const auto& file : files) {
    append(table,
           FileOnWire{file.mode, static_cast<std::uint32_t>(file.name.size()), file.size, file.offset});
    for (const std::uint64_t sum : file.chunk_checksums) append(table, sum);
    const auto name = std::as_bytes(std::span(file.name));
    table.insert(table.end(), name.begin(), name.end());
    table.resize(padded(table.size()));
  }
  return table;
}

Result<std::vector<StoredFile>> parse_table(std::span<const std::byte> table, const StoreHeader& header) {
  if (table.size() != header.table_length)
    return Err("the store's table of files has {} bytes, its header says {}", table.size(),
               header.table_length);
  if (checksum(table) != header.table_checksum)
    return Err("the store's table of files is corrupted (wrong checksum)");
  std::vector<StoredFile> files;
  for (Cursor cursor(table); !cursor.at_end();) {
    TRY_ASSIGN(auto file, parse_file(cursor));
    files.push_back(std::move(file));
  }
  TreeCheck tree;
  for (const auto& file : files) TRY(tree.add(file));
  TRY(check_places(files, header.table_offset));
  return files;
}

}  // namespace upkeep::memory
