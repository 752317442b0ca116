#include "engine/inspect/calls/guest_code.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>

#include "common/page_size.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

constexpr std::string_view kSystemCallReturn("\x0f\x05\xc3", 3);
// mov $15, %rax; syscall (glibc, Go), mov $15, %eax; syscall (musl)
constexpr std::string_view kSigreturnWide("\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05", 9);
constexpr std::string_view kSigreturnShort("\xb8\x0f\x00\x00\x00\x0f\x05", 7);
constexpr std::uint64_t kLongestPattern = kSigreturnWide.size();

void search(std::string_view code, std::uint64_t at, GuestCode& found) {
  auto look = [&](std::string_view wanted, std::uint64_t& into) {
    const auto position = code.find(wanted);
    if (into == 0 && position != std::string_view::npos) into = at + position;
  };
  look(kSystemCallReturn, found.system_call);
  look(kSigreturnWide, found.sigreturn);
  look(kSigreturnShort, found.sigreturn);
}

void search_mapping(const Mapping& mapping, const os::TaskMemory& memory, GuestCode& found) {
  constexpr std::uint64_t kPiece = 1U << 16U, kOverlap = 16;
  std::array<char, kPiece + kOverlap> buffer;
  for (std::uint64_t at = mapping.start; at < mapping.end; at += kPiece) {
    const auto piece = std::span(buffer).first(std::min(mapping.end - at, buffer.size()));
    if (!memory.read(at, std::as_writable_bytes(piece))) return;
    search({piece.data(), piece.size()}, at, found);
    if (found.system_call != 0 && found.sigreturn != 0) return;
  }
}

bool is_code(const Mapping& mapping) {
  return mapping.execute && mapping.read && mapping.kind == MappingKind::file;
}

// The C library first: it is where both are in nearly every program.
bool likely(const Mapping& mapping) {
  return mapping.name.find("/libc.so") != std::string::npos ||
         mapping.name.find("/libc-") != std::string::npos ||
         mapping.name.find("/ld-musl") != std::string::npos;
}

bool reads_as_zero(std::uint64_t page, const os::TaskMemory& memory) {
  std::array<std::byte, kPageSize> bytes;
  return memory.read(page, bytes) && os::all_zero(bytes);
}

// Pages at the lower end of the main stack that were never touched (the kernel maps more than it uses), or by
// no one but us: then they are all zero. Without the last one of them. Empty where they are not enough for a
// frame.
os::PageRange untouched_stack(pid_t pid, const std::vector<Mapping>& mappings, const os::TaskMemory& memory) {
  const auto stack =
      std::find_if(mappings.begin(), mappings.end(), [](const auto& m) { return m.name == "[stack]"; });
  if (stack == mappings.end() || !stack->write) return {};
  auto pagemap = os::open_file(fmt::format("/proc/{}/pagemap", pid), O_RDONLY);
  if (!pagemap) return {};
  constexpr std::size_t kMostPages = 64;
  const auto pages = std::min<std::size_t>(kMostPages, stack->length() / kPageSize);
  const auto entries = os::read_pagemap(*pagemap, {stack->start, stack->start + pages * kPageSize});
  if (!entries) return {};
  std::size_t untouched = 0;
  while (untouched < pages && (((*entries)[untouched] & os::kPresentOrSwapped) == 0 ||
                               reads_as_zero(stack->start + untouched * kPageSize, memory)))
    ++untouched;
  if (untouched * kPageSize < kGuestRoom + kPageSize) return {};
  return {stack->start, stack->start + (untouched - 1) * kPageSize};
}

}  // namespace

Result<GuestCode> find_guest_code(pid_t pid, const std::vector<Mapping>& mappings,
                                  const os::TaskMemory& memory) {
  return GuestCodeFinder().find(pid, mappings, memory);
}

bool GuestCodeFinder::find_where_it_was(const std::vector<Mapping>& mappings, const os::TaskMemory& memory,
                                        GuestCode& found) const {
  auto look = [&](const std::optional<Place>& place) {
    if (!place) return;
    for (const auto& mapping : mappings) {
      if (!is_code(mapping) || mapping.device != place->device || mapping.inode != place->inode ||
          place->offset < mapping.offset || place->offset - mapping.offset >= mapping.length())
        continue;
      const auto at = mapping.start + (place->offset - mapping.offset);
      std::string code(std::min<std::uint64_t>(kLongestPattern, mapping.end - at), '\0');
      if (memory.read(at, std::as_writable_bytes(std::span(code)))) search(code, at, found);
    }
  };
  look(system_call_);
  look(sigreturn_);
  return found.system_call != 0 && found.sigreturn != 0;
}

Result<GuestCode> GuestCodeFinder::find(pid_t pid, const std::vector<Mapping>& mappings,
                                        const os::TaskMemory& memory) {
  GuestCode found;
  auto with_frames = [&] {
    const auto untouched = untouched_stack(pid, mappings, memory);
    found.frames = untouched.start, found.room = untouched.end - untouched.start;
    return found;
  };
  if (find_where_it_was(mappings, memory, found)) return with_frames();
  found = {};
  auto place_of = [](const Mapping& mapping, std::uint64_t at) -> std::optional<Place> {
    if (at < mapping.start || at >= mapping.end) return std::nullopt;
    return Place{mapping.device, mapping.inode, mapping.offset + (at - mapping.start)};
  };
  for (const bool first_choice : {true, false}) {
    for (const auto& mapping : mappings) {
      if (!is_code(mapping) || likely(mapping) != first_choice) continue;
      search_mapping(mapping, memory, found);
      if (const auto place = place_of(mapping, found.system_call)) system_call_ = place;
      if (const auto place = place_of(mapping, found.sigreturn)) sigreturn_ = place;
      if (found.system_call != 0 && found.sigreturn != 0) return with_frames();
    }
  }
  return Err("the program has no code of its own with which a system call can be made and returned from");
}

void GuestCodeFinder::find_chain(const std::vector<Mapping>& mappings, const os::TaskMemory& memory,
                                 GuestCode& found) {
  constexpr std::uint64_t kMost = 16U << 20U;
  const auto library = std::ranges::find_if(mappings, [&](const auto& m) {
    return is_code(m) && m.start <= found.system_call && found.system_call < m.end;
  });
  if (library == mappings.end() || library->length() > kMost) return;
  auto known = std::ranges::find_if(libraries_, [&](const auto& one) {
    return one.device == library->device && one.inode == library->inode;
  });
  if (known == libraries_.end()) {
    SearchedLibrary searched{library->device, library->inode, {}};
    std::string code(library->length(), '\0');
    if (memory.read(library->start, std::as_writable_bytes(std::span(code))))
      search_chain_code(code, library->offset, searched.offsets);
    known = libraries_.insert(libraries_.end(), searched);
  }
  // Programs may write to their code: what was found in one is looked at again in each.
  ChainCode here;
  constexpr std::uint64_t ChainCode::*kParts[] = {&ChainCode::pop_rax, &ChainCode::pop_rdi,
                                                  &ChainCode::pop_rsi, &ChainCode::pop_rdx_rbx,
                                                  &ChainCode::store};
  for (const auto part : kParts) {
    const auto offset = known->offsets.*part;
    std::string code(kLongestPattern, '\0');
    const auto at = library->start + (offset - library->offset);
    if (offset < library->offset || at + code.size() > library->end ||
        !memory.read(at, std::as_writable_bytes(std::span(code))))
      return;
    ChainCode found_here;
    search_chain_code(code, at, found_here);
    if (found_here.*part != at) return;
    here.*part = at;
  }
  found.chain = here;
}

os::PageRange GuestCode::frame_range(std::uint64_t stack_pointer) const {
  if (room != 0) return {frames, frames + room};
  return {stack_pointer - kRedZone - kGuestRoom - kGuestAlignment, stack_pointer};
}

}  // namespace upkeep::engine
