#pragma once
// Descriptors, and how messages call them.

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

struct Descriptor {
  std::int32_t fd = 0;
  bool close_on_exec = false;
  std::uint32_t file = 0;  // index into Snapshot::files
  bool operator==(const Descriptor&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("fd", self.fd);
    visit("close_on_exec", self.close_on_exec);
    visit("file", self.file);
  }
};

// Number -1: it is on its way through a socket.
inline std::string descriptor_title(int number, const std::string& name) {
  return number < 0 ? fmt::format("descriptor in flight ({})", name)
                    : fmt::format("descriptor {} ({})", number, name);
}

Result<void> validate(const std::vector<Descriptor>& descriptors, const KnownObjects& known);

}  // namespace upkeep::engine
