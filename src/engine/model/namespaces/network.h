#pragma once
// Network namespaces: what src/net has read in one, as a JSON document (net/snapshot.h).

#include <cstdint>
#include <string>

namespace upkeep::engine {

// Without sysctls that OTHER does not have: those that only one of two kernels knows are not compared.
void forget_unknown_sysctls(std::string& network, const std::string& other);

}  // namespace upkeep::engine
