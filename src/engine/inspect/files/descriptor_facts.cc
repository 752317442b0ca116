#include "engine/inspect/files/descriptor_facts.h"

#include "os/borrow_descriptor.h"

namespace upkeep::engine {

Result<os::UniqueFd> borrow_descriptor(const DescriptorFacts& facts) {
  if (facts.process.get() < 0) return os::borrow_descriptor(facts.pid, facts.fd);
  return os::borrow_descriptor(facts.process, facts.pid, facts.fd);
}

}  // namespace upkeep::engine
