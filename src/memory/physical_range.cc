#include "memory/physical_range.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "os/file.h"

namespace upkeep::memory {
namespace {

constexpr std::uint64_t kLowestForKernel = 16 * kMiB;
constexpr std::uint64_t kDaxAlignment = 2 * kMiB;
constexpr std::size_t kKaslrRegions = 4;  // MAX_MEMMAP_REGIONS

std::string short_size(std::uint64_t size) {
  return size % kMiB == 0 ? fmt::format("{}M", size / kMiB) : fmt::format("{:#x}", size);
}

const PhysicalRange* largest(const std::vector<PhysicalRange>& ranges) {
  auto it = std::ranges::max_element(ranges, {}, &PhysicalRange::size);
  return it == ranges.end() ? nullptr : &*it;
}

}  // namespace

std::string text(const PhysicalRange& range) {
  return fmt::format("[{:#x}-{:#x}] {} MB", range.start, range.end() - 1, range.size / kMiB);
}

std::vector<PhysicalRange> merged(std::vector<PhysicalRange> ranges) {
  std::erase_if(ranges, [](const PhysicalRange& range) { return range.size == 0; });
  std::ranges::sort(ranges, {}, &PhysicalRange::start);
  std::vector<PhysicalRange> joined;
  for (const auto& range : ranges) {
    if (!joined.empty() && range.start <= joined.back().end())
      joined.back().size = std::max(joined.back().end(), range.end()) - joined.back().start;
    else
      joined.push_back(range);
  }
  return joined;
}

std::uint64_t total_size(std::span<const PhysicalRange> ranges) {
  std::uint64_t sum = 0;
  for (const auto& range : ranges) sum += range.size;
  return sum;
}

std::vector<PhysicalRange> without(std::span<const PhysicalRange> from,
                                   std::span<const PhysicalRange> taken) {
  const auto holes = merged({taken.begin(), taken.end()});
  std::vector<PhysicalRange> left;
  for (const auto& range : merged({from.begin(), from.end()})) {
    std::uint64_t at = range.start;
    for (const auto& hole : holes) {
      if (hole.end() <= at || hole.start >= range.end()) continue;
      if (hole.start > at) left.push_back({at, hole.start - at});
      at = std::min(hole.end(), range.end());
    }
    if (at < range.end()) left.push_back({at, range.end() - at});
  }
  return left;
}

PhysicalRange whole_blocks(const PhysicalRange& range, std::uint64_t block_size) {
  const std::uint64_t first = (range.start + block_size - 1) / block_size * block_size;
  const std::uint64_t last = range.end() / block_size * block_size;
  return last > first ? PhysicalRange{first, last - first} : PhysicalRange{first, 0};
}

std::vector<IomemLine> parse_iomem(std::string_view iomem) {
  std::vector<IomemLine> lines;
  for (std::size_t at = 0; at < iomem.size();) {
    auto line = iomem.substr(at, std::min(iomem.find('\n', at), iomem.size()) - at);
    at += line.size() + 1;
    IomemLine parsed;
    const auto indent = std::min(line.find_first_not_of(' '), line.size());
    parsed.depth = static_cast<unsigned>(indent / 2);
    line.remove_prefix(indent);
    std::uint64_t last = 0;
    const char* const end = line.data() + line.size();
    const auto first = std::from_chars(line.data(), end, parsed.range.start, 16);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') continue;
    const auto second = std::from_chars(first.ptr + 1, end, last, 16);
    const std::string_view rest(second.ptr, static_cast<std::size_t>(end - second.ptr));
    if (second.ec != std::errc() || !rest.starts_with(" : ") || last < parsed.range.start ||
        last == UINT64_MAX)
      continue;
    parsed.range.size = last - parsed.range.start + 1;
    parsed.name = rest.substr(3);
    lines.push_back(std::move(parsed));
  }
  return lines;
}

Result<std::vector<PhysicalRange>> parse_system_ram(std::string_view iomem) {
  std::vector<PhysicalRange> ram;
  for (const auto& line : parse_iomem(iomem)) {
    if (line.depth != 0 || line.name != "System RAM") continue;
    if (line.range.end() == 1) return Err("/proc/iomem shows no addresses: this needs root (CAP_SYS_ADMIN)");
    ram.push_back(line.range);
  }
  if (ram.empty()) return Err("/proc/iomem lists no System RAM");
  return merged(std::move(ram));
}

Result<PhysicalRange> kexec_window(std::span<const PhysicalRange> ram, std::span<const PhysicalRange> store,
                                   std::uint64_t bytes_needed) {
  std::vector<PhysicalRange> taken(store.begin(), store.end());
  taken.push_back({0, kLowestForKernel});
  const auto gaps = without(ram, taken);
  const std::vector<PhysicalRange> above{{4 * kGiB, UINT64_MAX - 4 * kGiB}};
  const auto low = without(gaps, above);
  if (const auto* best = largest(low); best != nullptr && best->size >= bytes_needed) return *best;
  if (const auto* best = largest(gaps); best != nullptr && best->size >= bytes_needed) return *best;
  const auto* best = largest(gaps);
  return Err(
      "no {} MB of contiguous RAM for the new kernel beside the image store; the largest stretch has {} MB",
      bytes_needed / kMiB, best == nullptr ? 0 : best->size / kMiB);
}

std::vector<PhysicalRange> widened(std::span<const PhysicalRange> ranges, std::span<const PhysicalRange> ram,
                                   std::uint64_t alignment) {
  const auto whole_ram = merged({ram.begin(), ram.end()});
  std::vector<PhysicalRange> wide;
  for (const auto& range : ranges) {
    std::uint64_t start = range.start & ~(alignment - 1);
    std::uint64_t end = (range.end() + alignment - 1) & ~(alignment - 1);
    const auto around = std::ranges::find_if(
        whole_ram, [&](const auto& r) { return r.start <= range.start && range.end() <= r.end(); });
    if (around == whole_ram.end()) {
      wide.push_back(range);
      continue;
    }
    start = std::max(start, around->start);
    end = std::min(end, around->end());
    wide.push_back({start, end - start});
  }
  return merged(std::move(wide));
}

Result<std::vector<PhysicalRange>> firmware_ram(const std::string& folder) {
  TRY_ASSIGN(const auto entries, os::list_directory(folder));
  std::vector<PhysicalRange> ram;
  for (const auto& entry : entries) {
    const std::string path = fmt::format("{}/{}", folder, entry);
    TRY_ASSIGN(const auto type, os::read_file(path + "/type"));
    if (!type.starts_with("System RAM")) continue;
    TRY_ASSIGN(const auto start, os::read_file(path + "/start"));
    TRY_ASSIGN(const auto end, os::read_file(path + "/end"));
    const std::uint64_t first = std::strtoull(start.c_str(), nullptr, 16),
                        last = std::strtoull(end.c_str(), nullptr, 16);
    if (last < first) return Err("{}: ends before it begins", path);
    ram.push_back({first, last - first + 1});
  }
  if (ram.empty()) return Err("{} shows no System RAM", folder);
  return merged(std::move(ram));
}

std::vector<std::string> kernel_parameters(std::span<const PhysicalRange> ranges,
                                           std::uint64_t store_address) {
  const auto regions = merged({ranges.begin(), ranges.end()});
  if (regions.empty()) return {};
  std::string reserve;
  std::string soften;
  for (const auto& region : regions) {
    reserve += fmt::format(",{}${:#x}", short_size(region.size), region.start);
    const auto soft = whole_blocks(region, kDaxAlignment);
    if (soft.size != 0) soften += fmt::format(",{}%{:#x}-2+0xefffffff", short_size(soft.size), soft.start);
  }
  for (auto listed = regions.size(); listed < kKaslrRegions; ++listed)
    reserve += fmt::format(",{}${:#x}", short_size(regions[0].size), regions[0].start);
  std::vector<std::string> parameters{"memmap=" + reserve.substr(1)};
  if (!soften.empty()) parameters.push_back("memmap=" + soften.substr(1));
  parameters.push_back(fmt::format("upkeep.store={:#x}", store_address));
  return parameters;
}

}  // namespace upkeep::memory
