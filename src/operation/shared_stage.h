#pragma once
// A stage of an operation whose stages pass something on to each other: an object that lives as long as the
// attempt does. A stage that is made without it can be undone, and nothing else.

#include "operation/stage.h"

namespace upkeep::operation {

template <typename Shared>
class SharedStage : public Stage {
 public:
  explicit SharedStage(Shared* shared) : shared_(shared) {}
  Result<void> apply(Context& context) final { return apply_with(*shared_, context); }

 protected:
  virtual Result<void> apply_with(Shared& shared, Context& context) = 0;

 private:
  Shared* shared_;
};

}  // namespace upkeep::operation
