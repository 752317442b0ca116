#pragma once
// How a store looks in memory. Offsets count through the store's physical ranges in order; all numbers are
// little-endian.
//
//   0              header, one page: magic, version, id, lengths, the table of physical ranges, its own checksum
//   4096           files, one after the other (those of 4096 bytes and more aligned to pages)
//   table_offset   table of files: mode, size, offset, checksum of each chunk of 4 MB, name
//
// The header names the physical ranges, so that whoever reads a store needs one address only. Checksums are
// XXH64: they find memory that was overwritten or that went bad, they do not keep out an attacker with root.
// Header and table are written last: a store that was not finished has no valid header.
//
// Parsers take spans and refuse, with one error, whatever does not fit together: nothing of a store is used
// before its header and its table have been checked whole.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "memory/physical_range.h"

namespace upkeep::memory {

inline constexpr std::uint32_t kStoreVersion = 1;
inline constexpr std::uint64_t kHeaderSize = kPageSize;
inline constexpr std::uint64_t kChunkSize = 4 * kMiB;
inline constexpr std::uint64_t kPieceSize = 128 * kKiB;  // what is copied at a time: it stays in the cache
inline constexpr std::size_t kMostRanges = 64;
inline constexpr std::size_t kLongestId = 63;
inline constexpr std::size_t kLongestName = 4095;  // PATH_MAX without its NUL

std::uint64_t checksum(std::span<const std::byte> bytes);

// The same over bytes that come piece by piece.
class RunningChecksum {
 public:
  RunningChecksum();
  void add(std::span<const std::byte> piece);
  std::uint64_t value() const;

 private:
  alignas(8) std::array<std::byte, 96> state_;  // XXH64_state_t, whose header is kept out of this one
};

struct StoreHeader {
  std::string id;                  // the upgrade's
  std::uint64_t total_length = 0;  // of all ranges
  std::uint64_t used_length = 0;   // header, files and table
  std::uint64_t table_offset = 0;
  std::uint64_t table_length = 0;
  std::uint64_t table_checksum = 0;
  std::vector<PhysicalRange> ranges;  // in the order of offsets
};
using HeaderBytes = std::array<std::byte, kHeaderSize>;
Result<HeaderBytes> encode_header(const StoreHeader& header);
Result<StoreHeader> parse_header(std::span<const std::byte> page);

// A file, a directory or a symbolic link; nothing else is carried. A link's target is its content.
struct StoredFile {
  std::string name;        // relative, without "." and ".."; directories come before what is in them
  std::uint32_t mode = 0;  // type and permissions, as st_mode
  std::uint64_t size = 0;
  std::uint64_t offset = 0;  // 0 where size is 0
  std::vector<std::uint64_t> chunk_checksums;
  bool is_folder() const;
  bool is_link() const;
};
inline std::uint64_t chunk_count(std::uint64_t size) { return (size + kChunkSize - 1) / kChunkSize; }
// Bytes that a file takes in the table.
std::uint64_t encoded_size(std::string_view name, std::uint64_t size);

std::vector<std::byte> encode_table(std::span<const StoredFile> files);
// Checks the table's checksum, and that all files lie between header and table and nowhere overlap.
Result<std::vector<StoredFile>> parse_table(std::span<const std::byte> table, const StoreHeader& header);

// Every directory stands before what is in it, and no name twice: then extraction never goes through a link. The
// names of what was added must outlive it.
class TreeCheck {
 public:
  Result<void> add(const StoredFile& file);

 private:
  std::map<std::string_view, bool> is_folder_;
};

// Whether NAME may stand in a store: relative, not empty, no empty, "." or ".." component, no NUL.
Result<void> check_name(std::string_view name);

}  // namespace upkeep::memory
