#include "memory/hand_back.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include "os/child.h"
#include "os/file.h"

namespace upkeep::memory {
namespace {

Result<void> modprobe(const std::vector<std::string>& module_and_options) {
  std::vector<std::string> argv{"modprobe"};
  argv.insert(argv.end(), module_and_options.begin(), module_and_options.end());
  TRY(os::run_checked(argv));
  return {};
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

Result<std::uint64_t> read_hexadecimal(const std::string& path) {
  TRY_ASSIGN(const auto content, os::read_file(path));
  std::string_view digits = content;
  if (digits.starts_with("0x")) digits.remove_prefix(2);
  std::uint64_t value = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value, 16).ec != std::errc() ||
      value == 0)
    return Err("{}: cannot read '{}'", path, trimmed(content));
  return value;
}

// A region of soft reserved memory, and the device in it that is not used yet.
struct Region {
  std::string folder;  // .../dax_region
  std::string device;  // "dax0.0"; empty: none, one is to be created
};

bool is_empty_device(const std::string& path) {
  const auto size = os::read_file(path + "/size");
  return size && trimmed(*size) == "0";
}

// Regions by their path; of each region an empty device where it has one.
Result<std::vector<Region>> find_regions(const HotplugFiles& files) {
  std::vector<Region> regions;
  const std::string devices = files.dax + "/devices";
  TRY_ASSIGN(const auto names, os::list_directory(devices));
  for (const auto& name : names) {
    std::error_code ignored;
    const auto path = std::filesystem::canonical(std::filesystem::path(devices) / name, ignored);
    const auto folder = (path.parent_path() / "dax_region").string();
    if (ignored || !os::exists(folder)) continue;
    auto region = std::ranges::find(regions, folder, &Region::folder);
    if (region == regions.end()) region = regions.insert(region, Region{folder, ""});
    if (region->device.empty() && is_empty_device(path.string())) region->device = name;
  }
  return regions;
}

// Makes sure that REGION has a device of size 0: a region keeps one seed device, and makes more when asked.
Result<std::string> empty_device(const HotplugFiles& files, const Region& region) {
  if (!region.device.empty()) return region.device;
  TRY(os::write_value(region.folder + "/create", "1"));
  TRY_ASSIGN(const auto regions, find_regions(files));
  const auto again = std::ranges::find(regions, region.folder, &Region::folder);
  if (again == regions.end() || again->device.empty())
    return Err("the DAX region {} made no new device", region.folder);
  return again->device;
}

// Which region a range lies in cannot be read anywhere: a mapping outside a region is refused with ENOMEM.
Result<std::string> map_in_a_region(const HotplugFiles& files, const PhysicalRange& range) {
  TRY_ASSIGN(const auto regions, find_regions(files));
  if (regions.empty())
    return Err("dax_hmem shows no region: the memory is not soft reserved for this kernel");
  Error last("no DAX region has this memory");
  for (const auto& region : regions) {
    auto device = empty_device(files, region);
    if (!device) {
      last = std::move(device).error();
      continue;
    }
    const auto mapped = os::write_value(fmt::format("{}/devices/{}/mapping", files.dax, *device),
                                        fmt::format("{:x}-{:x}", range.start, range.end() - 1));
    if (mapped) return device;
    last = mapped.error();
  }
  return tl::unexpected(std::move(last));
}

// A device that has RANGE already: made by udev, which loads dax_hmem without region_idle. Before 6.3
// device_dax takes it, later kmem does, at once where it is loaded.
std::optional<std::string> existing_device(const HotplugFiles& files, const PhysicalRange& range) {
  const auto names = os::list_directory(files.dax + "/devices");
  if (!names) return std::nullopt;
  for (const auto& name : *names) {
    const std::string mapping = fmt::format("{}/devices/{}/mapping0", files.dax, name);
    const auto first = read_hexadecimal(mapping + "/start");
    const auto last = read_hexadecimal(mapping + "/end");
    if (first && last && *first <= range.start && *last >= range.end() - 1) return name;
  }
  return std::nullopt;
}

std::string driver_of(const HotplugFiles& files, const std::string& device) {
  const auto link = os::read_link(fmt::format("{}/devices/{}/driver", files.dax, device));
  return link ? std::filesystem::path(*link).filename().string() : "";
}

Result<void> bind_to_kmem(const HotplugFiles& files, const std::string& device) {
  const std::string kmem = files.dax + "/drivers/kmem";
  // Since 6.3 a device may have been taken by device_dax or kmem the moment it got its mapping.
  if (const auto driver = driver_of(files, device); !driver.empty() && driver != "kmem")
    TRY(os::write_value(fmt::format("{}/drivers/{}/unbind", files.dax, driver), device));
  if (driver_of(files, device) == "kmem") return {};
  const auto named = os::write_value(kmem + "/new_id", device);  // binds at once
  if (driver_of(files, device) == "kmem") return {};
  const auto bound = os::write_value(kmem + "/bind", device);
  if (driver_of(files, device) == "kmem" || bound) return {};
  return named ? bound : named;
}

// Blocks come online by themselves or not, by auto_online_blocks.
Result<void> bring_online(const HotplugFiles& files, const PhysicalRange& range, std::uint64_t block_size) {
  for (std::uint64_t at = range.start; at < range.end(); at += block_size) {
    const std::string block = fmt::format("{}/memory{}", files.blocks, at / block_size);
    TRY_ASSIGN(const auto state, os::read_file(block + "/state"));
    if (trimmed(state) == "online") continue;
    TRY(os::write_value(block + "/state", "online_movable"));
  }
  return {};
}

// Has blocks that are added meanwhile come online as movable, and puts the machine's own choice back.
class MovableMeanwhile {
 public:
  explicit MovableMeanwhile(const HotplugFiles& files) : file_(files.blocks + "/auto_online_blocks") {
    if (auto before = os::read_file(file_); before && trimmed(*before) == "online") {
      before_ = trimmed(*before);
      (void)os::write_value(file_, "online_movable");
    }
  }
  MovableMeanwhile(const MovableMeanwhile&) = delete;
  MovableMeanwhile& operator=(const MovableMeanwhile&) = delete;
  ~MovableMeanwhile() {
    if (before_) (void)os::write_value(file_, *before_);
  }

 private:
  std::string file_;
  std::optional<std::string> before_;
};

Result<void> give(const HotplugFiles& files, const PhysicalRange& range, std::uint64_t block_size) {
  auto device = existing_device(files, range);
  if (!device) {
    TRY_ASSIGN(device, map_in_a_region(files, range));
  }
  TRY_IN(*device, bind_to_kmem(files, *device));
  return bring_online(files, range, block_size);
}

// region_idle keeps kmem from taking each region whole, odd ends included, which some kernels then refuse
// altogether.
Result<void> load_drivers(const HotplugFiles& files) {
  const auto load = files.load_module ? files.load_module : modprobe;
  TRY(load({"dax_hmem", "region_idle=1"}));
  return load({"kmem"});
}

}  // namespace

std::vector<PhysicalRange> parse_kmem_ram(std::string_view iomem) {
  std::vector<PhysicalRange> ram;
  for (const auto& line : parse_iomem(iomem))
    if (line.name == "System RAM (kmem)") ram.push_back(line.range);
  return merged(std::move(ram));
}

nlohmann::json HandedBack::to_json() const {
  auto given_json = nlohmann::json::array();
  for (const auto& range : given) given_json.push_back(text(range));
  auto kept_json = nlohmann::json::array();
  for (const auto& part : kept) kept_json.push_back({{"range", text(part.range)}, {"why", part.why}});
  return {{"given", given_json}, {"kept", kept_json}, {"measured", measured.to_json()}};
}

Result<HandedBack> hand_back(std::span<const PhysicalRange> store, const HotplugFiles& files) {
  const Stopwatch watch;
  HandedBack result;
  const auto ranges = merged({store.begin(), store.end()});
  auto keep = [&](std::span<const PhysicalRange> parts, const std::string& why) {
    for (const auto& part : parts) result.kept.push_back({part, why});
  };
  const auto block_size = read_hexadecimal(files.blocks + "/block_size_bytes");
  if (!block_size) {
    keep(ranges, "this kernel cannot add memory while it runs: " + block_size.error().message());
    return result;
  }
  std::vector<PhysicalRange> blocks;
  for (const auto& range : ranges)
    if (const auto whole = whole_blocks(range, *block_size); whole.size != 0) blocks.push_back(whole);
  keep(without(ranges, blocks), fmt::format("no whole memory block of {} MB", *block_size / kMiB));

  const auto loaded = blocks.empty() ? Result<void>() : load_drivers(files);
  TRY_ASSIGN(const auto iomem, os::read_file(files.iomem));
  const auto already = parse_kmem_ram(iomem);
  const MovableMeanwhile movable(files);
  for (const auto& range : blocks) {
    auto given = loaded;
    if (without(std::vector{range}, already).empty())
      given = {};
    else if (loaded)
      given = give(files, range, *block_size);
    if (given)
      result.given.push_back(range);
    else
      keep(std::vector{range}, given.error().message());
  }
  result.measured = {total_size(result.given), 0, 1, watch.elapsed()};
  return result;
}

}  // namespace upkeep::memory
