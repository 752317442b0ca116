#pragma once
// Filters of system calls, seccomp(2).

#include <cstdint>
#include <vector>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// seccomp(2). Threads have the same filters most of the time: each program is kept once.
struct SeccompFilter {
  Bytes instructions;  // struct sock_filter, one after the other
  bool log = false;    // SECCOMP_FILTER_FLAG_LOG
  bool operator==(const SeccompFilter&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("instructions", self.instructions);
    visit("log", self.log);
  }
};

struct Seccomp {
  std::uint32_t mode = 0;              // SECCOMP_MODE_
  std::vector<std::uint32_t> filters;  // indices into Snapshot::seccomp_filters, the oldest first
  bool operator==(const Seccomp&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("mode", self.mode);
    visit("filters", self.filters);
  }
};

Result<void> validate(const SeccompFilter& filter, const KnownObjects& known);

}  // namespace upkeep::engine
