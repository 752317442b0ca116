#pragma once
// Journals of upgrades as they were and as they must never be, and random ones.

#include <string>
#include <vector>

#include "common/event.h"

namespace upkeep::report {

std::vector<Event> journal(const std::string& name);  // fixtures/NAME.jsonl, without a torn last line
std::vector<std::string> all_journals();
std::string file_text(const std::string& path);
// Events in an order, with times and data, that no stage would ever emit.
std::vector<Event> random_journal(unsigned seed);

}  // namespace upkeep::report
