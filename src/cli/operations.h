#pragma once
// What this program can carry out, by the kind that plans and journals name.

#include "operation/operation.h"

namespace upkeep::cli {

const operation::Operations& known_operations();

}  // namespace upkeep::cli
