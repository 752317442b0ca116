#pragma once
// How much memory an upgrade needs: asked by check before anything is touched, and by prepare, which takes it.

#include <cstdint>

#include "engine/carry_set.h"

namespace upkeep::jump {

// Bytes that the image of SET will take, roughly: resident private memory, page tables' worth on top.
std::uint64_t estimated_image_bytes(const engine::CarrySet& set);

// Bytes of the store that holds an image of that size, and all files beside it.
std::uint64_t store_bytes_needed(std::uint64_t image_bytes);

// Bytes that have to be free at the same time: the image is written to a tmpfs, and copied from there into the
// store.
std::uint64_t free_bytes_needed(const engine::CarrySet& set);

}  // namespace upkeep::jump
