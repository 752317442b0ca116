#pragma once
// What is fuzzed: everything that a manifest meets before the first task is made from it.

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>

#include "engine/model/snapshot.h"

namespace upkeep::fuzz {

// manifest.cc. Whatever TEXT is, it is refused with an error or becomes programs; anything else ends this
// process. Returns how far it came.
enum class Reached { refused, understood, compiled };
Reached read_document(std::string_view text);
// The same below format, version and checksum, which would keep nearly every mutation out.
Reached read_content(const nlohmann::json& content);

// mutation.cc: one to a few changes, of the kinds that break decoders.
void mutate(nlohmann::json& content, std::mt19937_64& random);
void mutate(std::string& text, std::mt19937_64& random);

// example.cc: a tree with something of every kind in it, of which programs can be made.
engine::Snapshot example();

}  // namespace upkeep::fuzz
