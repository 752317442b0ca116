#include "jump/manifest.h"

#include <nlohmann/json.hpp>
#include "engine/carry_set.h"

namespace upkeep::jump {

nlohmann::json to_json(const Manifest& manifest) {
  nlohmann::json json = {{"version", kManifestVersion},
                         {"id", manifest.id},
                         {"from", manifest.from},
                         {"to", manifest.to},
                         {"state_dir", manifest.state_dir},
                         {"carry_set", manifest.carry_set},
                         {"network", manifest.network},
                         {"tcp_peers", manifest.tcp_peers},
                         {"nft_ruleset", manifest.nft_ruleset},
                         {"hostname", manifest.hostname},
                         {"temporary_files", manifest.temporary_files},
                         {"start_units", manifest.start_units},
                         {"settle_writes", manifest.settle_writes},
                         {"clocks", os::to_json(manifest.clocks)},
                         {"tsc_frequency", manifest.tsc_frequency},
                         {"window_begin_ns", manifest.window_begin_ns},
                         {"restored", manifest.restored},
                         {"store", nlohmann::json::array()},
                         {"mounts", nlohmann::json::array()},
                         {"huge_pages", nlohmann::json::array()},
                         {"adoptions", nlohmann::json::array()}};
  for (const auto& range : manifest.store)
    json["store"].push_back({{"start", range.start}, {"size", range.size}});
  for (const auto& mount : manifest.mounts) json["mounts"].push_back(to_json(mount));
  for (const auto& pool : manifest.huge_pages) json["huge_pages"].push_back(to_json(pool));
  for (const auto& adoption : manifest.adoptions) json["adoptions"].push_back(to_json(adoption));
  return json;
}

Result<Manifest> manifest_from_json(const nlohmann::json& json) {
  Manifest manifest;
  try {
    const int version = json.at("version").get<int>();
    if (version != kManifestVersion) {
      return Err("the manifest has version {}, and this upkeep reads version {}", version, kManifestVersion);
    }
    json.at("id").get_to(manifest.id);
    json.at("from").get_to(manifest.from);
    json.at("to").get_to(manifest.to);
    json.at("state_dir").get_to(manifest.state_dir);
    manifest.carry_set = json.at("carry_set");
    manifest.network = json.at("network");
    manifest.tcp_peers = json.at("tcp_peers");
    json.at("nft_ruleset").get_to(manifest.nft_ruleset);
    json.at("hostname").get_to(manifest.hostname);
    manifest.temporary_files = json.at("temporary_files");
    json.at("start_units").get_to(manifest.start_units);
    json.at("settle_writes").get_to(manifest.settle_writes);
    json.at("tsc_frequency").get_to(manifest.tsc_frequency);
    json.at("window_begin_ns").get_to(manifest.window_begin_ns);
    json.at("restored").get_to(manifest.restored);
    TRY_ASSIGN(manifest.clocks, os::clock_reading_from_json(json.at("clocks")));
    for (const auto& entry : json.at("store")) {
      manifest.store.push_back(
          {entry.at("start").get<std::uint64_t>(), entry.at("size").get<std::uint64_t>()});
    }
    for (const auto& entry : json.at("mounts")) {
      TRY_ASSIGN(auto mount, machine::early_mount_from_json(entry));
      manifest.mounts.push_back(std::move(mount));
    }
    for (const auto& entry : json.at("huge_pages")) {
      TRY_ASSIGN(auto pool, machine::huge_page_pool_from_json(entry));
      manifest.huge_pages.push_back(pool);
    }
    for (const auto& entry : json.at("adoptions")) {
      TRY_ASSIGN(auto adoption, systemd::adoption_from_json(entry));
      manifest.adoptions.push_back(std::move(adoption));
    }
  } catch (const nlohmann::json::exception& error) {
    return Err("manifest: {}", error.what());
  }
  return manifest;
}

Result<Manifest> parse_manifest(std::string_view text) {
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return Err("the manifest is not JSON");
  return manifest_from_json(json);
}

Result<std::string> to_text(const Manifest& manifest) try {
  return to_json(manifest).dump();
} catch (const nlohmann::json::exception& error) {
  return Err("a name among what is carried is not UTF-8: {}", error.what());
}

int highest_pid(const Manifest& manifest) {
  const auto set = engine::carry_set_from_json(manifest.carry_set);
  return set ? set->highest_id() : 0;
}

}  // namespace upkeep::jump
