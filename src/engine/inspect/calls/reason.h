#pragma once
// Why an object cannot be made again, before it is said which task's it is (Obstacle).

#include <string>

namespace upkeep::engine {

struct Reason {
  std::string why, remedy = {};
};
inline constexpr const char* kTryAgain = "try again, when it has been read";

}  // namespace upkeep::engine
