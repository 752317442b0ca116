#pragma once
// Packet sockets, packet(7).

#include <cstdint>
#include <string>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// PACKET_ADD_MEMBERSHIP of packet(7).
struct PacketMembership {
  std::string interface;
  std::uint32_t type = 0;  // PACKET_MR_...
  Bytes address;
  std::uint32_t count = 1;
  bool operator==(const PacketMembership&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("interface", self.interface);
    visit("type", self.type);
    visit("address", self.address);
    visit("count", self.count);
  }
};

Result<void> validate(const PacketMembership& membership, const KnownObjects& known);

}  // namespace upkeep::engine
