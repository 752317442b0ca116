#pragma once
// The upgrade as an operation: the stages of both kernels under one name.

#include "operation/operation.h"

namespace upkeep::jump {

const operation::Operation& upgrade();

}  // namespace upkeep::jump
