#include "common/result.h"

#include <cstring>

namespace upkeep {

std::string errno_text(int code) {
  char buffer[128];
  return strerror_r(code, buffer, sizeof buffer);  // the GNU variant: returns the text
}

}  // namespace upkeep
