#pragma once
// keyrings(7).

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/text.h"

namespace upkeep::engine {

// keyrings(7). Permissions as keyctl_setperm(3) has them.
struct Key {
  std::string type, description;
  std::uint32_t uid = 0, gid = 0, permissions = 0;
  Bytes payload;
  bool operator==(const Key&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("type", self.type);
    visit("description", self.description);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("permissions", self.permissions);
    visit("payload", self.payload);
  }
};

// A session keyring with the keys in it.
struct Keyring {
  std::int32_t serial = 0;  // in the kernel that it was read from
  std::string name;         // "_ses": without a name of its own
  std::uint32_t uid = 0, gid = 0, permissions = 0;
  std::vector<Key> keys;
  bool operator==(const Keyring&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("serial", self.serial);
    visit("name", self.name);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("permissions", self.permissions);
    visit("keys", self.keys);
  }
};

// Leaves out those that are as good as none: empty and without a name, for the program cannot have put anything into
// the one that it shares with its user, or it would be there. Returns where those are now that are left.
std::map<std::uint32_t, std::uint32_t> forget_serials(std::vector<Keyring>& keyrings);

}  // namespace upkeep::engine
