#include "engine/engines.h"

#include "engine/criu/criu_engine.h"
#include "engine/native/native_engine.h"

namespace upkeep::engine {

Result<std::unique_ptr<Engine>> make_engine(const std::string& name) {
  if (name == "criu") return criu::make_engine();
  if (name == "native") return native::make_engine();
  return Err("there is no engine '{}'; this version has: criu, native", name);
}

}  // namespace upkeep::engine
