#include "engine/rebuild/namespaces/network.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "net/snapshot.h"

namespace upkeep::engine {

Result<void> set_up_network(const std::string& text) {
  const auto document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return Err("a network that cannot be read");
  TRY_ASSIGN(const auto network, net::snapshot_from_json(document));
  net::PutBackOptions options;
  options.wait_for_links = std::chrono::milliseconds(0);
  TRY(net::put_back(network, options));
  return {};
}

os::Fd network_of(const Socket& socket, const Snapshot& snapshot, const AllNamespaces& namespaces) {
  for (std::size_t i = 0; socket.network != 0 && i < namespaces.size(); ++i) {
    if (snapshot.namespaces[i].numbers.net == socket.network) return namespaces[i].net;
  }
  return os::Fd(-1);
}

}  // namespace upkeep::engine
