#include "jump/new/settle.h"

#include <nlohmann/json.hpp>
#include "jump/manifest.h"
#include "memory/hand_back.h"
#include "operation/journal.h"
#include "os/file.h"
#include "systemd/adoption.h"
#include "systemd/units.h"

namespace upkeep::jump {
namespace {

// Units are started one by one here, so that one that fails does not keep the others back.
void start_stopped_units(const Manifest& manifest, operation::Journal& journal) {
  for (const auto& unit : manifest.start_units) {
    if (auto started = systemd::start_units({unit}); !started) {
      (void)journal.append(
          {"warning", "settle", fmt::format("{} did not start again: {}", unit, started.error().message())});
    }
  }
}

Result<void> adopt_units(const Manifest& manifest, operation::Journal& journal) {
  for (const auto& adoption : manifest.adoptions) {
    auto started = systemd::start_units({adoption.unit});
    auto state = systemd::unit_state(adoption.unit);
    if (!started || !state || state->main_pid != adoption.main_pid) {
      (void)journal.append(
          {"warning", "settle",
           fmt::format("{} runs (process {}), but systemd does not see it as its own: {}", adoption.unit,
                       adoption.main_pid, started ? "another main process" : started.error().message())});
    }
  }
  return systemd::finish_adoption(manifest.adoptions);
}

void hand_memory_back(const Manifest& manifest, operation::Journal& journal) {
  auto handed_back = memory::hand_back(manifest.store);
  if (!handed_back) {
    (void)journal.append(
        {"warning", "settle",
         "the memory that held the images stays reserved: " + handed_back.error().message()});
    return;
  }
  (void)journal.append({"fact", "settle", "", {{"handed_back", handed_back->to_json()}}});
  for (const auto& kept : handed_back->kept) {
    (void)journal.append({"warning", "settle",
                          fmt::format("{} stays reserved until the next upgrade or restart: {}",
                                      memory::text(kept.range), kept.why)});
  }
}

}  // namespace

bool settle_pending() { return os::exists(kSettlePath); }

Result<void> settle(const std::string& manifest_path) {
  TRY_ASSIGN(auto text, os::read_file(manifest_path));
  TRY_ASSIGN(auto manifest, parse_manifest(text));
  TRY_ASSIGN(auto journal, operation::Journal::open(manifest.state_dir, manifest.id));
  TRY(journal.append({"stage_begun", "settle", ""}));
  auto adopted = adopt_units(manifest, journal);
  if (!adopted) (void)journal.append({"warning", "settle", adopted.error().message()});
  start_stopped_units(manifest, journal);
  for (const auto& [file, value] : manifest.settle_writes) {
    if (os::exists(file)) (void)os::write_value(file, value);
  }
  hand_memory_back(manifest, journal);
  TRY(journal.append({"stage_done", "settle", ""}));
  if (manifest.restored) {
    TRY(journal.append({"upgrade_ended",
                        "",
                        "everything runs on the new kernel",
                        {{"outcome", "upgraded"}, {"exit_code", 0}}}));
  }
  TRY(journal.sync());
  return os::remove_tree(manifest_path);
}

}  // namespace upkeep::jump
