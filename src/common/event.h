#pragma once
// What stages say while they work. Stages never print: they emit events, and the command line, the journal on
// disk and the report are listeners of the same events.

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "common/result.h"

namespace upkeep {

// One event; one line of a journal. Times are CLOCK_REALTIME nanoseconds: the only clock that means the same
// in both kernels (the new kernel's is set from the old one's by the time stamp counter before its first
// event).
struct Event {
  // upgrade_begun, stage_begun, stage_done, stage_failed, undo_begun, undo_done, undo_failed, fact, progress,
  // warning, upgrade_ended
  std::string kind;
  std::string stage = {};    // "prepare", "park", ...; empty where the event belongs to none
  std::string message = {};  // for people, one line
  nlohmann::json data = nlohmann::json::object();  // facts by name; what undo needs later is in here
  std::int64_t time_ns = 0;                        // 0: stamped by whoever records it
  std::string kernel = {};     // `uname -r` of the kernel it happened in; stamped likewise
  std::string direction = {};  // "undo": on the way back; empty: forward
};

nlohmann::json to_json(const Event& event);
Result<Event> event_from_json(const nlohmann::json& json);

using EventSink = std::function<void(const Event&)>;

}  // namespace upkeep
