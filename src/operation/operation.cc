#include "operation/operation.h"

#include <algorithm>

namespace upkeep::operation {

Result<const Operation*> find_operation(const Operations& operations, const std::string& kind) {
  const auto found = std::find_if(operations.begin(), operations.end(),
                                  [&](const auto* operation) { return operation->kind() == kind; });
  if (found == operations.end()) return Err("this version of upkeep knows no operation '{}'", kind);
  return *found;
}

}  // namespace upkeep::operation
