#pragma once
// One line of `upkeep check`: something that stands in the way, or that the operator should know.

#include <string>

namespace upkeep {

struct Finding {
  // A refusal makes `check` exit 1 and `upgrade` stop before anything is touched.
  enum class Severity { ok, warning, refusal };
  Severity severity = Severity::ok;
  std::string what;    // "nginx (412), descriptor 7: io_uring instance"
  std::string why;     // "requests in flight cannot be read back from the kernel"
  std::string remedy;  // "set ... and restart the service, or leave it out of --carry"
};

}  // namespace upkeep
