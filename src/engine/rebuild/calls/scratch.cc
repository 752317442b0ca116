#include "engine/rebuild/calls/scratch.h"

#include <stdlib.h>
#include <unistd.h>

namespace upkeep::engine {

Result<Scratch> Scratch::make() {
  for (const char* parent : {"/run", "/tmp"}) {
    auto name = std::string(parent) + "/upkeep-scratch-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) return Scratch(std::move(name));
  }
  return ErrnoErr("a directory below /run or /tmp");
}

Scratch::~Scratch() {
  if (!path_.empty()) ::rmdir(path_.c_str());
}

}  // namespace upkeep::engine
