#include "engine/model/sockets/packet_socket.h"

namespace upkeep::engine {

Result<void> validate(const PacketMembership& membership, const KnownObjects&) {
  constexpr std::uint32_t kMost = 1U << 16U;
  if (membership.count > kMost) return Err("{} memberships of one kind", membership.count);
  return {};
}

}  // namespace upkeep::engine
