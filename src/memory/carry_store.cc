#include "memory/carry_store.h"

#include <linux/mman.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>

#include "memory/huge_pool.h"
#include "memory/range_choice.h"
#include "os/file.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // 5.14
#endif

namespace upkeep::memory {
namespace {

constexpr std::uint64_t kSmallPage = 2 * kMiB;
constexpr std::uint64_t kGiganticPage = kGiB;
using Clock = std::chrono::steady_clock;

std::uint64_t pages_for(std::uint64_t bytes, std::uint64_t page_size) {
  return (bytes + page_size - 1) / page_size;
}

Result<std::uint64_t> meminfo_value(std::string_view text, std::string_view key) {
  const auto at = text.find(key);
  if (at == std::string_view::npos) return Err("/proc/meminfo has no line '{}'", key);
  auto digits = text.substr(at + key.size());
  digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
  std::uint64_t kilobytes = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), kilobytes).ec != std::errc())
    return Err("/proc/meminfo: cannot read the line '{}'", key);
  return kilobytes * kKiB;
}

// Blocks are 128 MB where there is less than 64 GB of RAM. Without memory hotplug there is no such file, and
// nothing could be handed back in blocks.
std::uint64_t read_block_size(const std::string& path) {
  const auto content = os::read_file(path);
  std::uint64_t size = 0;
  if (!content ||
      std::from_chars(content->data(), content->data() + content->size(), size, 16).ec != std::errc() ||
      !std::has_single_bit(size))
    return 128 * kMiB;
  return size;
}

}  // namespace

Result<FreeMemory> parse_meminfo(std::string_view text) {
  FreeMemory memory;
  TRY_ASSIGN(memory.total, meminfo_value(text, "MemTotal:"));
  TRY_ASSIGN(memory.available, meminfo_value(text, "MemAvailable:"));
  return memory;
}

std::uint64_t margin(const FreeMemory& memory) { return std::max(96 * kMiB, memory.total / 16); }

Result<ReservationPlan> plan_reservation(std::uint64_t bytes_needed, const HugePageFiles& files) {
  ReservationPlan plan;
  plan.bytes_needed = bytes_needed;
  plan.files = files;
  plan.block_size = read_block_size(files.block_size);
  TRY_ASSIGN(const auto meminfo, os::read_file(files.meminfo));
  TRY_ASSIGN(plan.memory, parse_meminfo(meminfo));
  const std::uint64_t keep = margin(plan.memory);
  if (bytes_needed + keep > plan.memory.available)
    return Err(
        "{} MB of memory are needed for the images and {} MB must stay for the services, {} MB are available",
        bytes_needed / kMiB, keep / kMiB, plan.memory.available / kMiB);
  plan.undo = nlohmann::json::array();
  for (const std::uint64_t page_size : {kSmallPage, kGiganticPage}) {
    const HugePool pool(files.pools, page_size);
    if (!pool.exists()) continue;
    TRY_ASSIGN(const auto size, pool.size());
    plan.undo.push_back({{"pools", files.pools}, {"page_size", page_size}, {"pages", size}});
    const std::uint64_t gigantic_bytes = pages_for(bytes_needed, kGiganticPage) * kGiganticPage;
    if (page_size == kGiganticPage)
      plan.gigantic = gigantic_bytes + std::max(kGiB, plan.memory.total / 4) <= plan.memory.available;
  }
  if (plan.undo.empty()) return Err("this kernel has no huge pages ({} is empty)", files.pools);
  return plan;
}

Finding check_room(std::uint64_t bytes_needed, const HugePageFiles& files) {
  const auto plan = plan_reservation(bytes_needed, files);
  if (!plan)
    return {Finding::Severity::refusal, "memory for the images", plan.error().message(),
            "free memory (stop what need not run, or drop caches), or carry fewer processes"};
  return {Finding::Severity::ok, "memory for the images",
          fmt::format("{} MB needed, {} MB available", bytes_needed / kMiB, plan->memory.available / kMiB),
          ""};
}

Result<void> undo_reservation(const nlohmann::json& undo) {
  if (!undo.is_array()) return Err("the journal's record of huge pages cannot be read");
  Result<void> done;
  for (const auto& record : undo) {
    if (!record.is_object() || !record.contains("pools") || !record["pools"].is_string() ||
        !record.value("page_size", nlohmann::json()).is_number_unsigned() ||
        !record.value("pages", nlohmann::json()).is_number_unsigned())
      return Err("the journal's record of huge pages cannot be read");
    const HugePool pool(record["pools"].get<std::string>(), record["page_size"].get<std::uint64_t>());
    const auto pages = record["pages"].get<std::uint64_t>();
    const auto now = pool.size();
    if (now && *now == pages) continue;
    const auto resized = pool.resize(pages, Clock::now() + std::chrono::seconds(20));
    if (!resized)
      done = tl::unexpected(resized.error());
    else if (*resized > pages)
      done = Err("{} huge pages of {} kB could not be given back: they are in use", *resized - pages,
                 pool.page_size() / kKiB);
  }
  return done;
}

CarryStore::CarryStore(CarryStore&& other) noexcept
    : pages_(std::exchange(other.pages_, {})),
      page_size_(other.page_size_),
      ranges_(std::exchange(other.ranges_, {})),
      memory_(std::exchange(other.memory_, {})),
      measured_(other.measured_) {}

CarryStore::~CarryStore() {
  for (const auto& page : pages_) ::munmap(page.address, page_size_);
}

Result<void> CarryStore::map(std::uint64_t count, std::uint64_t page_size) {
  const std::uint64_t size = count * page_size;
  const int flags =
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (std::countr_zero(page_size) << MAP_HUGE_SHIFT);
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) return ErrnoErr("map {} huge pages of {} kB", count, page_size / kKiB);
  auto* const first = static_cast<std::byte*>(memory);
  page_size_ = page_size;
  for (std::uint64_t i = 0; i < count; ++i) pages_.push_back({first + i * page_size, 0});
  // A child must not share the pages: the parent's next write would then go to a copy, elsewhere in memory.
  if (::madvise(memory, size, MADV_DONTFORK) != 0) return ErrnoErr("madvise(MADV_DONTFORK)");
  // Not MAP_POPULATE: that would leave out what a cgroup's hugetlb limit refuses, and SIGBUS us later.
  if (::madvise(memory, size, MADV_POPULATE_WRITE) != 0)
    return ErrnoErr("get {} huge pages of {} kB", count, page_size / kKiB);
  TRY_ASSIGN(const auto physical, physical_addresses(first, count, page_size));
  for (std::uint64_t i = 0; i < count; ++i) pages_[i].physical = physical[i];
  std::ranges::sort(pages_, {}, &Page::physical);
  return {};
}

void CarryStore::keep_only(const std::vector<PhysicalRange>& ranges) {
  ranges_ = ranges;
  std::vector<Page> kept;
  std::vector<std::span<std::byte>> pieces;
  for (const auto& page : pages_) {
    const PhysicalRange itself{page.physical, page_size_};
    if (std::ranges::any_of(ranges, [&](const PhysicalRange& range) { return range.overlaps(itself); })) {
      kept.push_back(page);
      pieces.emplace_back(page.address, page_size_);
    } else {
      ::munmap(page.address, page_size_);
    }
  }
  pages_ = std::move(kept);
  memory_ = StoreMemory(pieces);
}

Result<CarryStore> CarryStore::take(const ReservationPlan& plan, std::uint64_t page_size, std::uint64_t extra,
                                    Clock::time_point end) {
  const Stopwatch watch;
  const HugePool pool(plan.files.pools, page_size);
  const std::uint64_t needed = pages_for(plan.bytes_needed, page_size);
  TRY_ASSIGN(const auto before, pool.size());
  TRY_ASSIGN(auto now, pool.resize(before + needed + extra, end));
  if (now < before + needed && Clock::now() < end) {
    (void)os::write_value(plan.files.compact, "1");
    TRY_ASSIGN(now, pool.resize(before + needed, end));
  }
  if (now < before + needed)
    return Err("the kernel gave {} of {} huge pages of {} MB: its memory is too fragmented",
               now - std::min(now, before), needed, page_size / kMiB);
  CarryStore store;
  TRY(store.map(now - before, page_size));
  ChoiceRules rules;
  rules.bytes_needed = plan.bytes_needed;
  rules.page_size = page_size;
  rules.block_size = plan.block_size;
  std::vector<std::uint64_t> addresses;
  for (const auto& page : store.pages_) addresses.push_back(page.physical);
  TRY_ASSIGN(const auto ranges, choose_ranges(addresses, rules));
  store.keep_only(ranges);
  // Only free pages leave the pool: ours are mapped.
  TRY(pool.resize(before + store.pages_.size(), Clock::now() + std::chrono::seconds(20)));
  TRY(store.in_place());
  store.measured_ = {store.size(), 0, 1, watch.elapsed()};
  return store;
}

Result<CarryStore> CarryStore::reserve(const ReservationPlan& plan, std::chrono::milliseconds time_limit) {
  const auto end = Clock::now() + time_limit;
  if (plan.gigantic) {
    // Half of the time at most: the smaller pages are the likelier ones on a machine that has run for long.
    if (auto store = take(plan, kGiganticPage, 0, Clock::now() + time_limit / 2)) return store;
    TRY_IN("give back 1 GiB pages", undo_reservation(plan.undo));
  }
  // More than needed, so that there are whole blocks or at least long runs to choose from; much more only
  // where that was too fragmented, since the kernel clears every page that it gives.
  const std::uint64_t room = (plan.memory.available - margin(plan.memory) - plan.bytes_needed) / 2;
  Error why("no time was left to reserve memory for the images", ETIMEDOUT);
  for (const std::uint64_t extra : {2 * plan.block_size, 6 * plan.block_size + plan.bytes_needed / 2, room}) {
    if (Clock::now() >= end) break;
    auto store = take(plan, kSmallPage, std::min(room, extra) / kSmallPage, end);
    if (store) return store;
    why = std::move(store).error();
    const auto undone = undo_reservation(plan.undo);
    if (!undone || extra >= room) break;
  }
  return tl::unexpected(std::move(why));
}

Result<void> CarryStore::in_place() const {
  for (const auto& page : pages_) {
    TRY_ASSIGN(const auto physical, physical_addresses(page.address, 1, page_size_));
    if (physical[0] != page.physical)
      return Err("the kernel has moved a page of the image store from {:#x} to {:#x}", page.physical,
                 physical[0]);
  }
  return {};
}

}  // namespace upkeep::memory
