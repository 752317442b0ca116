#include "cli/held_connections.h"

#include <time.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "net/prod.h"
#include "os/file.h"

namespace upkeep::cli {
namespace {

constexpr const char* kFile = "/connections.json";

// No other snapshot's, also after a restart of the machine with the same process IDs.
std::string new_table() {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return fmt::format("upkeep-snapshot-{}-{}", ::getpid(), now.tv_sec);
}

}  // namespace

engine::NetworkHooks HeldConnections::hooks() {
  engine::NetworkHooks hooks;
  hooks.hold = [this](const std::vector<pid_t>& pids) { return hold(pids); };
  hooks.keep = [this] { return keep(); };
  hooks.release = [this] { return release(); };
  return hooks;
}

Result<void> HeldConnections::hold(const std::vector<pid_t>& pids) {
  TRY_ASSIGN(auto peers, net::collect_tcp_peers(pids));
  if (peers.empty()) return {};
  TRY_ASSIGN(hold_, net::ConnectionHold::begin(std::move(peers)));
  return {};
}

Result<void> HeldConnections::keep() {
  if (!hold_) return {};
  table_ = new_table();
  const nlohmann::json json = {{"table", table_}, {"connections", net::to_json(hold_->connections())}};
  TRY(os::replace_file(folder_ + kFile, json.dump(1) + "\n", 0600));
  return hold_->keep(table_);
}

Result<void> HeldConnections::release() {
  if (!os::exists(folder_ + kFile)) return {};
  TRY_ASSIGN(const auto text, os::read_file(folder_ + kFile));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("table") || !json["table"].is_string())
    return Err("{}{} cannot be read", folder_, kFile);
  TRY(net::release_connections(json["table"].get<std::string>()));
  TRY_ASSIGN(const auto peers, net::tcp_peers_from_json(json.value("connections", nlohmann::json())));
  (void)net::prod_peers(peers);  // else they come back by themselves, later
  return {};
}

}  // namespace upkeep::cli
