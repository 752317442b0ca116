#include "os/vdso.h"

#include <elf.h>

#include <cstring>

#include "os/file.h"
#include "os/proc_maps.h"

namespace upkeep::os {
namespace {

// A struct of the image's, where it is wholly within it.
template <typename T>
std::optional<T> at(std::span<const std::byte> image, std::uint64_t offset) {
  if (image.size() < sizeof(T) || offset > image.size() - sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, image.data() + offset, sizeof value);
  return value;
}

std::string text_at(std::span<const std::byte> image, std::uint64_t offset) {
  std::string text;
  for (auto c = at<char>(image, offset); c && *c != '\0'; c = at<char>(image, ++offset)) text.push_back(*c);
  return text;
}

// The images are linked at 0, so that addresses in them are offsets.
struct Tables {
  std::uint64_t symbols = 0, names = 0;
};
Result<Tables> find_tables(std::span<const std::byte> image) {
  const auto header = at<Elf64_Ehdr>(image, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_phentsize != sizeof(Elf64_Phdr))
    return Err("not the image of a 64-bit vdso");
  Tables tables;
  for (std::uint64_t i = 0; i < header->e_phnum; ++i) {
    const auto segment = at<Elf64_Phdr>(image, header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment) return Err("the vdso's segments lie outside it");
    if (segment->p_type == PT_LOAD && (segment->p_vaddr != 0 || segment->p_offset != 0))
      return Err("the vdso is not linked at 0");
    if (segment->p_type != PT_DYNAMIC) continue;
    for (auto place = segment->p_offset;; place += sizeof(Elf64_Dyn)) {
      const auto entry = at<Elf64_Dyn>(image, place);
      if (!entry) return Err("the vdso's dynamic section does not end");
      if (entry->d_tag == DT_NULL) break;
      if (entry->d_tag == DT_SYMTAB) tables.symbols = entry->d_un.d_ptr;
      if (entry->d_tag == DT_STRTAB) tables.names = entry->d_un.d_ptr;
    }
  }
  if (tables.symbols == 0 || tables.names <= tables.symbols)
    return Err("the vdso has no table of symbols, or not where linkers put it");
  return tables;
}

}  // namespace

std::optional<Vdso> parse_vdso(std::string_view maps) {
  Vdso vdso;
  const auto mappings = parse_maps(maps);
  if (!mappings) return std::nullopt;
  for (const auto& mapping : *mappings) {
    if (mapping.name.starts_with("[vvar") && vdso.start == 0) vdso.start = mapping.start;
    if (mapping.name == "[vdso]") vdso.code = mapping.start, vdso.end = mapping.end;
  }
  if (vdso.code == 0) return std::nullopt;
  if (vdso.start == 0 || vdso.start > vdso.code) vdso.start = vdso.code;
  return vdso;
}

Result<std::optional<Vdso>> own_vdso() {
  TRY_ASSIGN(const auto maps, read_file("/proc/self/maps"));
  return parse_vdso(maps);
}

// The names follow the symbols: nothing else tells how many there are without reading a hash table.
Result<std::vector<VdsoFunction>> vdso_functions(std::span<const std::byte> image) {
  TRY_ASSIGN(const auto tables, find_tables(image));
  std::vector<VdsoFunction> functions;
  for (auto place = tables.symbols; place + sizeof(Elf64_Sym) <= tables.names; place += sizeof(Elf64_Sym)) {
    const auto symbol = at<Elf64_Sym>(image, place);
    if (!symbol) return Err("the vdso's symbols lie outside it");
    if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx == SHN_UNDEF) continue;
    if (symbol->st_value >= image.size() || symbol->st_size > image.size() - symbol->st_value)
      return Err("a function of the vdso lies outside it");
    functions.push_back({text_at(image, tables.names + symbol->st_name), symbol->st_value, symbol->st_size});
  }
  return functions;
}

}  // namespace upkeep::os
