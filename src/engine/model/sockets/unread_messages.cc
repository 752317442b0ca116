#include "engine/model/sockets/unread_messages.h"

namespace upkeep::engine {

Result<void> validate(const Message& message, const KnownObjects& known) {
  for (const auto file : message.files) {
    if (file >= known.files) return Err("a file is on its way through it that is not there");
  }
  return {};
}

}  // namespace upkeep::engine
