#include "engine/rebuild/memory/common_memory.h"

#include <sys/mman.h>

#include <algorithm>

namespace upkeep::engine {
namespace {

// Mappings of all children together that need not be made, from which on it is worth the while.
constexpr std::size_t kWorthwhile = 400;

// Whether a child has it from its parent as it is, and nothing that is done with it before has a part in how
// its memory is made.
bool is_simple(const Mapping& mapping) {
  return (mapping.kind == MappingKind::file || mapping.kind == MappingKind::anonymous) &&
         mapping.flags.empty() && mapping.protection_key == 0 && mapping.huge_page == 0 &&
         !mapping.execute_only() && !mapping.name.starts_with("[anon");
}

// Its names are looked up where we look them up, and no memory of its has to come before all other.
bool is_simple(const Process& process) {
  return !process.exit_status && !process.namespaces &&
         std::ranges::none_of(process.memory.mappings,
                              [](const auto& m) { return m.kind == MappingKind::io_uring; });
}

bool run_the_same(const AddressSpace& a, const AddressSpace& b) {
  return a.executable == b.executable && a.executable_device == b.executable_device &&
         a.executable_inode == b.executable_inode;
}

// Calls found(I) for each of MAPPINGS, all ascending, that MEMORY has too.
template <typename Found>
void for_each_common(const std::vector<const Mapping*>& mappings, const AddressSpace& memory,
                     const Found& found) {
  auto there = memory.mappings.begin();
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    while (there != memory.mappings.end() && there->start < mappings[i]->start) ++there;
    if (there == memory.mappings.end()) return;
    if (*there == *mappings[i]) found(i);
  }
}

std::size_t count_common(const std::vector<const Mapping*>& mappings, const AddressSpace& memory) {
  std::size_t count = 0;
  for_each_common(mappings, memory, [&](std::size_t) { ++count; });
  return count;
}

}  // namespace

// Pages are in order, as mappings are.
std::unordered_set<std::uint64_t> filled_mappings(const AddressSpace& memory) {
  std::unordered_set<std::uint64_t> filled;
  auto run = memory.pages.begin();
  for (const auto& mapping : memory.mappings) {
    while (run != memory.pages.end() && run->address + run->count * kPage <= mapping.start) ++run;
    const bool has_pages = run != memory.pages.end() && run->address < mapping.end;
    const bool has_contents = std::ranges::any_of(memory.contents, [&](const Contents& contents) {
      return contents.address >= mapping.start && contents.address < mapping.end;
    });
    if (!mapping.shared && (has_pages || has_contents)) filled.insert(mapping.start);
  }
  return filled;
}

CommonMemory::CommonMemory(const Births& births) {
  for (const auto& step : births.steps) {
    const auto* birth = std::get_if<Birth>(&step);
    if (birth == nullptr || !is_simple(*birth->process)) continue;
    auto children = birth->children();
    std::erase_if(children, [&](const Process* child) {
      return !is_simple(*child) || !run_the_same(child->memory, birth->process->memory);
    });
    look_at(*birth->process, children);
  }
}

// Children of one that has been born with something itself are born with the same.
void CommonMemory::look_at(const Process& parent, const std::vector<const Process*>& children) {
  std::vector<const Mapping*> common;
  const auto* inherited = there_in(parent);
  for (const auto& mapping : parent.memory.mappings) {
    if (inherited != nullptr ? inherited->contains(mapping.start) : is_simple(mapping))
      common.push_back(&mapping);
  }
  if (inherited == nullptr) keep_usual(common, children);
  std::vector<const Process*> heirs;
  std::ranges::copy_if(children, std::back_inserter(heirs), [&](const Process* child) {
    return count_common(common, child->memory) == common.size();
  });
  const bool made_here = inherited == nullptr;
  if (made_here && heirs.size() * common.size() < kWorthwhile) return;
  if (made_here) {
    heirs.push_back(&parent);
    auto& made = all_.emplace_back();
    for (const auto* mapping : common) made.emplace(mapping->start, mapping->protection());
    for (const auto* heir : heirs) {
      for (const auto start : filled_mappings(heir->memory)) {
        const auto found = made.find(start);
        if (found != made.end()) found->second |= PROT_READ | PROT_WRITE;
      }
    }
    made_.emplace(parent.pid, &made);
    inherited = &made;
  }
  for (const auto* heir : heirs) there_.emplace(heir->pid, inherited);
}

// Those of MAPPINGS that nearly all of CHILDREN have.
void CommonMemory::keep_usual(std::vector<const Mapping*>& mappings,
                              const std::vector<const Process*>& children) {
  std::vector<std::size_t> counts(mappings.size());
  for (const auto* child : children)
    for_each_common(mappings, child->memory, [&](std::size_t i) { ++counts[i]; });
  std::size_t i = 0;
  std::erase_if(mappings, [&](const Mapping*) { return counts[i++] * 10 < children.size() * 9; });
}

const MappedAlready* CommonMemory::to_be_made_by(const Process& process) const {
  const auto found = made_.find(process.pid);
  return found == made_.end() ? nullptr : found->second;
}

const MappedAlready* CommonMemory::there_in(const Process& process) const {
  const auto found = there_.find(process.pid);
  return found == there_.end() ? nullptr : found->second;
}

}  // namespace upkeep::engine
