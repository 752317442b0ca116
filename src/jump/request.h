#pragma once
// What an upgrade is asked for: its part of an operation's plan.

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::jump {

// What is loaded, by the kernel's two slots (kexec_load(2)), as given: a release, a short name, or a path. Empty:
// the slot is left as it is.
struct Loads {
  std::string next;  // what the jump starts
  std::string
      crash;  // what a panic would start; nothing loads it yet, and a request that wants it is refused
};

struct Request {
  Loads loads;
  std::vector<pid_t> carry;
};

nlohmann::json to_json(const Request& request);
Result<Request> request_from_json(const nlohmann::json& json);

}  // namespace upkeep::jump
