#include "cli/operations.h"

#include "jump/old/upgrade.h"

namespace upkeep::cli {

const operation::Operations& known_operations() {
  static const operation::Operations operations = {&jump::upgrade()};
  return operations;
}

}  // namespace upkeep::cli
