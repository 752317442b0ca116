#pragma once
// Can this machine do it? Everything that would make an upgrade fail, found without touching anything. The
// command `upkeep check` shows it; the check stage of an upgrade asks the same questions again.

#include <optional>
#include <string>
#include <vector>

#include "common/finding.h"
#include "engine/carry_set.h"
#include "kexec/target.h"
#include "machine/root.h"

namespace upkeep::jump {

struct CheckRequest {
  std::string kernel;        // empty: only the machine is looked at
  std::vector<pid_t> carry;  // empty likewise
};

struct CheckReport {
  std::vector<Finding> findings;  // good news too: one line for each thing that was looked at
  engine::CarrySet set;
  std::optional<kexec::Target> target;
  machine::RootFileSystem root;
  bool possible() const;
  std::string first_refusal() const;  // "what: why (remedy)"; empty where there is none
};

CheckReport check_machine(const CheckRequest& request);

}  // namespace upkeep::jump
