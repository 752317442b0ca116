#pragma once
// What a socket has received and nobody has read.

#include <cstdint>
#include <optional>
#include <vector>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

// SCM_CREDENTIALS of unix(7).
struct SenderCredentials {
  std::int32_t pid = 0;
  std::uint32_t uid = 0, gid = 0;
  bool operator==(const SenderCredentials&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pid", self.pid);
    visit("uid", self.uid);
    visit("gid", self.gid);
  }
};

// One that has not been read. Of a stream: as much as one read(2) may give.
struct Message {
  Bytes data;
  Bytes from;                        // sockaddr of the sender; empty where it has none, or it is the peer
  std::vector<std::uint32_t> files;  // descriptors on their way: indices into Snapshot::files
  std::optional<SenderCredentials> credentials;  // where the receiver has asked for them (SO_PASSCRED)
  bool operator==(const Message&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("data", self.data);
    visit("from", self.from);
    visit("files", self.files);
    visit("credentials", self.credentials);
  }
};

Result<void> validate(const Message& message, const KnownObjects& known);

}  // namespace upkeep::engine
