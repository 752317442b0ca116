#include "fixture.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <stdexcept>

namespace upkeep::report {

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("no such fixture: " + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<Event> journal(const std::string& name) {
  std::istringstream text(file_text(std::string(UPKEEP_FIXTURES "/") + name + ".jsonl"));
  std::vector<Event> events;
  for (std::string line; std::getline(text, line);) {
    auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_discarded()) break;
    events.push_back(event_from_json(json).value());
  }
  return events;
}

std::vector<std::string> all_journals() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(UPKEEP_FIXTURES)) {
    if (entry.path().extension() == ".jsonl") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<Event> random_journal(unsigned seed) {
  static constexpr std::array<const char*, 12> kKinds = {
      "stage_begun", "stage_done",  "stage_failed", "stage_begun", "stage_done",    "undo_begun",
      "undo_done",   "undo_failed", "fact",         "warning",     "upgrade_ended", "unheard_of"};
  static constexpr std::array<const char*, 9> kStages = {"check",   "park",   "snapshot", "jump", "land",
                                                         "restore", "resume", "settle",   ""};
  static constexpr std::array<const char*, 3> kOutcomes = {"upgraded", "undone", "restore_failed"};
  static constexpr std::array<std::int64_t, 6> kHours = {0, 0, 0, 1, -1, 100000};
  std::mt19937_64 random(seed);
  auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  std::vector<Event> events;
  std::int64_t time = 1'795'000'000'000'000'000;
  for (std::size_t i = 0, count = below(40); i < count; ++i) {
    time += static_cast<std::int64_t>(below(3'000'000'000)) - 100'000'000;
    if (below(12) == 0) time += kHours.at(below(kHours.size())) * 3'600'000'000'000;
    Event event{kKinds.at(below(kKinds.size())), kStages.at(below(kStages.size())), "", {}, time, ""};
    event.data = nlohmann::json::object();
    if (below(3) != 0) event.kernel = below(2) == 0 ? "6.12" : "7.3";
    if (below(5) == 0) event.time_ns = static_cast<std::int64_t>(random());
    if (below(4) == 0) event.data["duration_ns"] = static_cast<std::int64_t>(below(5'000'000'000));
    if (below(4) == 0)
      event.data["parts"] = {{{"name", "a"}, {"ns", below(1'000'000'000)}}, {{"name", "b"}, {"ns", 7}}};
    if (below(6) == 0) event.data["window_begin_ns"] = 1;
    if (below(6) == 0) event.data["window_end_ns"] = 1;
    event.data["outcome"] = kOutcomes.at(below(kOutcomes.size()));
    events.push_back(std::move(event));
  }
  return events;
}

}  // namespace upkeep::report
