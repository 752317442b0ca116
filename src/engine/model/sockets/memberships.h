#pragma once
// Multicast groups.

#include <cstdint>
#include <string>
#include <vector>

#include "common/text.h"

namespace upkeep::engine {

// A multicast group of ip(7) or ipv6(7).
struct Membership {
  std::string interface;
  Bytes group;                 // sockaddr
  bool all_but = true;         // from everybody but SOURCES; else from these only
  std::vector<Bytes> sources;  // sockaddr
  bool operator==(const Membership&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("interface", self.interface);
    visit("group", self.group);
    visit("all_but", self.all_but);
    visit("sources", self.sources);
  }
};

}  // namespace upkeep::engine
