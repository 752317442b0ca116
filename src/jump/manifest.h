#pragma once
// Everything that crosses the jump but page contents: one self-contained, versioned document in the store.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "machine/huge_page_pools.h"
#include "machine/mounts.h"
#include "memory/physical_range.h"
#include "os/clock.h"
#include "systemd/adoption.h"

namespace upkeep::jump {

inline constexpr int kManifestVersion = 1;

struct Manifest {
  std::string id, from, to, state_dir;
  nlohmann::json carry_set;  // engine::CarrySet
  nlohmann::json network;    // net::Snapshot
  nlohmann::json tcp_peers;  // net::TcpPeer list
  std::string nft_ruleset;   // `nft list ruleset`, empty where there is none
  std::string hostname;
  std::vector<machine::EarlyMount> mounts;
  std::vector<machine::HugePagePool> huge_pages;
  nlohmann::json temporary_files;  // temporary_files.h; their contents are in the store
  std::vector<systemd::Adoption> adoptions;
  std::vector<std::string> start_units;      // stopped before the window, or running without being enabled
  std::vector<memory::PhysicalRange> store;  // what the new kernel leaves alone; given back to it in settle
  // File, value: what a fast boot left switched on.
  std::vector<std::pair<std::string, std::string>> settle_writes;
  os::ClockReading clocks;           // the last thing read before the jump
  double tsc_frequency = 0;          // ticks a second; 0: not known
  std::int64_t window_begin_ns = 0;  // CLOCK_REALTIME of the first stop
  bool restored = true;              // for settle: whether the tasks run
};

nlohmann::json to_json(const Manifest& manifest);
// Refuses other versions by number, and whatever is not a manifest by the field that shows it.
Result<Manifest> manifest_from_json(const nlohmann::json& json);
Result<Manifest> parse_manifest(std::string_view text);
// An error where a name in it is not UTF-8, which JSON cannot hold.
Result<std::string> to_text(const Manifest& manifest);

// Of all carried tasks and threads; 0 where the carry set cannot be read, which restoring says.
int highest_pid(const Manifest& manifest);

}  // namespace upkeep::jump
