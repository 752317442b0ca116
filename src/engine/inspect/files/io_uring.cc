#include "engine/inspect/files/io_uring.h"

#include <linux/io_uring.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "engine/inspect/calls/proc_text.h"
#include "engine/inspect/files/kernel_ring.h"
#include "os/file.h"
#include "os/io_uring.h"

namespace upkeep::engine {
namespace {

constexpr const char* kSwitchOff =
    "switch io_uring off in its configuration, or system-wide (kernel.io_uring_disabled=2), and restart it";
constexpr const char* kLater =
    "try again when it has nothing to wait for; a program that always has: switch "
    "io_uring off in its configuration, or system-wide "
    "(kernel.io_uring_disabled=2), and restart it";
// Making one again makes every request again, as one that does nothing: some 25 to 100 ns each.
constexpr std::uint32_t kMostRequests = 1U << 24U;

struct FlagReason {
  std::uint32_t flag;
  const char* why;
};
constexpr std::array kNotRebuiltFlags = {
    FlagReason{os::kRingSqPoll, "a thread of the kernel's looks for its requests (IORING_SETUP_SQPOLL)"},
    FlagReason{os::kRingIoPoll,
               "it polls devices (IORING_SETUP_IOPOLL), which is not rebuilt by this version"},
    FlagReason{os::kRingDisabled, "it has not been switched on yet (IORING_SETUP_R_DISABLED)"},
    FlagReason{os::kRingSingleIssuer,
               "it belongs to one thread (IORING_SETUP_SINGLE_ISSUER), which is not rebuilt by this version"},
    FlagReason{os::kRingNoMmap, "it lies in the program's own memory (IORING_SETUP_NO_MMAP)"},
};
constexpr std::uint32_t kRebuiltFlags = os::kRingCqSize | os::kRingClamp | os::kRingSubmitAll |
                                        os::kRingCoopTaskrun | os::kRingTaskrunFlag | os::kRingSqe128 |
                                        os::kRingCqe32 | os::kRingNoSqArray;

// What fdinfo tells, io_uring/fdinfo.c.
struct RingFacts {
  std::uint32_t sq_mask = 0, sq_head = 0, cached_sq_head = 0, cq_mask = 0, cq_head = 0, cq_tail = 0,
                cached_cq_tail = 0;
  std::uint64_t files = 0, buffers = 0;
  bool overflow = false, busy_polling = false;
};

// None: somebody is using the ring at the moment (7.3 says nothing then, others leave parts out).
std::optional<RingFacts> parse_ring(std::string_view text) {
  RingFacts facts;
  const auto word = [&](const char* key, std::uint32_t& into, int base) {
    auto value = value_of(text, key);
    if (!value) return false;
    if (base == 16 && value->starts_with("0x")) value->remove_prefix(2);
    const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), into, base);
    return error == std::errc() && end == value->data() + value->size();
  };
  const bool whole = word("SqMask", facts.sq_mask, 16) && word("SqHead", facts.sq_head, 10) &&
                     word("CachedSqHead", facts.cached_sq_head, 10) && word("CqMask", facts.cq_mask, 16) &&
                     word("CqHead", facts.cq_head, 10) && word("CqTail", facts.cq_tail, 10) &&
                     word("CachedCqTail", facts.cached_cq_tail, 10);
  const auto files = number_of(text, "UserFiles"), buffers = number_of(text, "UserBufs");
  const auto overflow = text.find("CqOverflowList:\n");
  if (!whole || !files || !buffers || overflow == std::string_view::npos) return std::nullopt;
  facts.files = *files;
  facts.buffers = *buffers;
  facts.busy_polling = value_of(text, "NAPI").value_or("disabled") != "disabled";  // 6.9 on
  facts.overflow = text.substr(overflow).starts_with("CqOverflowList:\n ");
  return facts;
}

class UringReader {
 public:
  UringReader(os::Fd ring, IoUring& uring) : ring_(ring), uring_(uring) {}

  Result<std::vector<Reason>> read(const std::string& fdinfo, Look tasks) {
    reasons_.clear();
    busy_ = false;
    const auto facts = parse_ring(fdinfo);
    if (!facts) {
      refuse("somebody uses it all the time", kLater, true);
      return reasons_;
    }
    uring_.sq_entries = facts->sq_mask + 1;
    uring_.cq_entries = facts->cq_mask + 1;
    uring_.sq_head = facts->cached_sq_head;
    uring_.cq_tail = facts->cached_cq_tail;
    look_at(*facts);
    const auto kernel = read_kernel_ring(ring_);
    if (kernel) {
      uring_.flags = kernel->flags;
      look_at(*kernel);
    } else {
      uring_.flags.reset();
      refuse(fmt::format("what is in flight in it cannot be told: {}", kernel.error().message()), kSwitchOff);
    }
    if (kernel && reasons_.empty()) TRY(read_memory(*facts, tasks));
    return reasons_;
  }
  // What stands in the way may be gone in a moment.
  bool busy() const { return busy_; }

 private:
  void refuse(std::string why, const char* remedy = kSwitchOff, bool passes = false) {
    reasons_.push_back({std::move(why), remedy});
    busy_ = busy_ || passes;
  }

  void look_at(const RingFacts& facts) {
    if (facts.files != 0)
      refuse(fmt::format("it has {} files registered (IORING_REGISTER_FILES)", facts.files));
    if (facts.buffers != 0)
      refuse(fmt::format("it has {} buffers registered (IORING_REGISTER_BUFFERS)", facts.buffers));
    if (facts.busy_polling) refuse("it polls network devices (IORING_REGISTER_NAPI)");
    if (facts.overflow) refuse("it has completions that found no room in its ring", kLater, true);
    if (facts.sq_head != facts.cached_sq_head || facts.cq_tail != facts.cached_cq_tail)
      refuse("its memory contradicts what the kernel has counted", kLater, true);
    if (facts.cq_tail - facts.cq_head > uring_.cq_entries || facts.cq_head > facts.cq_tail)
      refuse("what it has read contradicts what the kernel has counted, or the count has begun anew");
    if (facts.cached_sq_head > kMostRequests)
      refuse(fmt::format(
                 "it has made {} requests, and making one again that has made more than {} takes too long",
                 facts.cached_sq_head, kMostRequests),
             "restart the program");
    if (facts.cached_cq_tail > facts.cached_sq_head)
      refuse("it has had several completions of one request, which is not rebuilt by this version");
  }

  void look_at(const KernelRing& kernel) {
    if (kernel.in_flight != 0)
      refuse(fmt::format("requests are in flight in it ({}), which cannot be read back from the kernel",
                         kernel.in_flight),
             kLater, true);
    for (const auto& [flag, why] : kNotRebuiltFlags) {
      if ((kernel.flags & flag) != 0) refuse(why);
    }
    auto unknown = kernel.flags & ~kRebuiltFlags;
    for (const auto& [flag, why] : kNotRebuiltFlags) unknown &= ~flag;
    if (unknown != 0 && (kernel.flags & ~kRebuiltFlags) == unknown)
      refuse(fmt::format("it was made with flags that this version does not rebuild ({:#x})", unknown));
    for (const auto& more : kernel.more) refuse("it has " + more);
  }

  // One of the same shape tells where things lie.
  Result<void> read_memory(const RingFacts& facts, Look tasks) {
    const os::RingShape shape = {*uring_.flags, uring_.sq_entries, uring_.cq_entries};
    auto twin = os::make_ring(shape);
    if (!twin) {
      refuse(fmt::format("none like it can be made here: {}", twin.error().message()));
      return {};
    }
    uring_.places = std::move(twin->places);
    TRY_ASSIGN(const auto memory,
               os::RingMemory::map(ring_, os::rings_size(shape, uring_.places), os::entries_size(shape)));
    const auto counter = [&](std::size_t place) {
      std::uint32_t value = 0;
      std::memcpy(&value, memory.rings().data() + uring_.places.at(place), sizeof value);
      return value;
    };
    const bool lost = counter(os::kSqDropped) != 0 || counter(os::kCqOverflow) != 0;
    if (lost && facts.cached_sq_head != facts.cached_cq_tail)
      refuse("it has dropped requests or completions");
    if (counter(os::kSqFlags) != 0) refuse("it tells its program of work to be done", kLater, true);
    if (!stand_still(tasks)) return {};
    const auto copy = [](std::span<const std::byte> from, Bytes& into) {
      into.data.resize(from.size());
      std::memcpy(into.data.data(), from.data(), from.size());
    };
    copy(memory.rings(), uring_.rings);
    copy(memory.entries(), uring_.entries);
    return {};
  }

  os::Fd ring_;
  IoUring& uring_;
  std::vector<Reason> reasons_;
  bool busy_ = false;
};

const OpenFile* ring_of(const Snapshot& snapshot, std::uint64_t inode) {
  const auto found = std::ranges::find_if(
      snapshot.files, [&](const OpenFile& file) { return file.io_uring && file.io_uring->inode == inode; });
  return found == snapshot.files.end() ? nullptr : &*found;
}

}  // namespace

Result<std::vector<Reason>> read_io_uring(const std::string& fdinfo, os::Fd ring, Look tasks,
                                          IoUring& uring) {
  struct stat status = {};
  if (::fstat(ring.get(), &status) < 0) return ErrnoErr("fstat");
  uring.inode = status.st_ino;
  UringReader reader(ring, uring);
  // A program that runs may be in the middle of a request; in one that stands still a worker may be, or a
  // disk.
  constexpr int kTries = 20;
  auto info = fdinfo;
  for (int tries = 1;; ++tries) {
    TRY_ASSIGN(auto reasons, reader.read(info, tasks));
    if (!reader.busy() || tries == kTries) return reasons;
    const timespec pause = {0, 1'000'000};
    ::nanosleep(&pause, nullptr);
    TRY_ASSIGN(info, os::read_file(fmt::format("/proc/self/fdinfo/{}", ring.get())));
  }
}

void look_at_mapped_rings(Snapshot& snapshot) {
  for (const auto& process : snapshot.processes) {
    for (const auto& mapping : process.memory.mappings) {
      if (mapping.kind != MappingKind::io_uring) continue;
      const auto refuse = [&](const char* why) {
        snapshot.obstacles.push_back(
            {process.pid, fmt::format("mapping {:x}-{:x} {}", mapping.start, mapping.end, mapping.name), why,
             kSwitchOff});
      };
      const auto* file = ring_of(snapshot, mapping.inode);
      if (file == nullptr) {
        refuse("no descriptor of the tree leads to its ring");
        continue;
      }
      const auto& uring = *file->io_uring;
      if (uring.places.empty()) continue;  // the ring itself has been refused
      const os::RingShape shape = {uring.flags.value_or(0), uring.sq_entries, uring.cq_entries};
      const bool rings = mapping.offset == IORING_OFF_SQ_RING || mapping.offset == IORING_OFF_CQ_RING;
      const auto size = rings ? os::rings_size(shape, uring.places) : os::entries_size(shape);
      if ((!rings && mapping.offset != IORING_OFF_SQES) || mapping.length() > size || !mapping.shared)
        refuse("it is not a mapping of a ring's memory from its beginning on");
    }
  }
}

}  // namespace upkeep::engine
