#pragma once
// The bytes of a store: pieces of memory, anywhere in this process, that together make one stretch of
// offsets. Huge pages are mapped in whatever order the kernel gave them; here they are in physical order.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "common/result.h"

namespace upkeep::memory {

template <typename Byte>  // std::byte, or const std::byte where it is only read
class Pieces {
 public:
  Pieces() = default;
  explicit Pieces(const std::vector<std::span<Byte>>& pieces) {
    for (auto piece : pieces) {
      if (piece.empty()) continue;
      if (!pieces_.empty() && pieces_.back().bytes.data() + pieces_.back().bytes.size() == piece.data())
        pieces_.back().bytes = {pieces_.back().bytes.data(), pieces_.back().bytes.size() + piece.size()};
      else
        pieces_.push_back({size_, piece});
      size_ += piece.size();
    }
  }

  std::uint64_t size() const { return size_; }

  // Calls visit(span) for the pieces of [offset, offset + length), in order, at most LARGEST bytes at a time,
  // until one returns an error. The range must lie inside.
  template <typename Visit>
  Result<void> visit(std::uint64_t offset, std::uint64_t length, std::uint64_t largest,
                     Visit&& visit_piece) const {
    if (offset > size_ || length > size_ - offset)
      return Err("bytes {}+{} lie outside the store of {} bytes", offset, length, size_);
    auto it = std::ranges::upper_bound(pieces_, offset, {}, &Piece::offset);
    if (it != pieces_.begin()) --it;
    while (length != 0) {
      const std::uint64_t inside = offset - it->offset;
      const std::uint64_t count = std::min({it->bytes.size() - inside, length, largest});
      TRY(visit_piece(it->bytes.subspan(inside, count)));
      offset += count;
      length -= count;
      if (inside + count == it->bytes.size()) ++it;
    }
    return {};
  }

 private:
  struct Piece {
    std::uint64_t offset;
    std::span<Byte> bytes;
  };
  std::vector<Piece> pieces_;
  std::uint64_t size_ = 0;
};

using StoreMemory = Pieces<std::byte>;
using StoreContents = Pieces<const std::byte>;

}  // namespace upkeep::memory
