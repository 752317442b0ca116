#pragma once
// Session keyrings and the keys in them, keyrings(7). A keyring is made in the first process that has it,
// before its children, who inherit it.

#include <cstdint>
#include <vector>

#include "engine/model/snapshot.h"
#include "engine/rebuild/calls/program.h"

namespace upkeep::engine {

Program compile_join(const Keyring& keyring);  // a new one, of that name
Program compile_keys(const Keyring& keyring);
// When everything else is there: keys and keyring get their owners and permissions. SERIALS: what add_key(2)
// has returned in the program of compile_keys(), in the order of the keyring.
Program compile_key_owners(const Keyring& keyring, const std::vector<std::int64_t>& serials);

}  // namespace upkeep::engine
