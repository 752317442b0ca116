#include <algorithm>
#include <set>

#include "engine/native/model/snapshot.h"

namespace upkeep::native {
namespace {

Result<void> check_pages(const std::vector<PageRun>& pages, std::uint64_t limit) {
  std::uint64_t end = 0;
  for (const auto& run : pages) {
    if (run.address % kPage != 0 || run.position % kPage != 0)
      return Err("pages at {:#x} are not aligned", run.address);
    if (run.address < end || run.count == 0 || run.address > limit ||
        run.count > (limit - run.address) / kPage)
      return Err("pages at {:#x} are out of order or out of bounds", run.address);
    if (run.position > static_cast<std::uint64_t>(INT64_MAX) - run.count * kPage)
      return Err("pages at {:#x} lie nowhere", run.address);
    end = run.address + run.count * kPage;
  }
  return {};
}

Result<void> check_memory(const AddressSpace& memory) {
  std::uint64_t end = 0;
  for (const auto& mapping : memory.mappings) {
    if (mapping.kind == "vsyscall") continue;  // above everything, and made by the kernel
    if (mapping.start % kPage != 0 || mapping.end % kPage != 0 || mapping.offset % kPage != 0)
      return Err("the mapping at {:#x} is not aligned", mapping.start);
    if (mapping.start < end || mapping.end <= mapping.start || mapping.end > kHighestAddress)
      return Err("the mapping at {:#x} is out of order or out of bounds", mapping.start);
    end = mapping.end;
  }
  TRY(check_pages(memory.pages, kHighestAddress));
  auto mapping = memory.mappings.begin();
  for (const auto& run : memory.pages) {  // both are in order
    std::uint64_t at = run.address;
    while (at < run.address + run.count * kPage) {
      while (mapping != memory.mappings.end() && mapping->end <= at) ++mapping;
      if (mapping == memory.mappings.end() || mapping->start > at || mapping->shared)
        return Err("pages at {:#x} lie in no private mapping", at);
      at = mapping->end;
    }
  }
  return {};
}

Result<void> check_descriptors(const Process& process, std::size_t files) {
  std::int64_t last = -1;
  for (const auto& descriptor : process.descriptors) {
    if (descriptor.fd <= last) return Err("descriptor {} is out of order", descriptor.fd);
    if (descriptor.file >= files) return Err("descriptor {} leads to no file", descriptor.fd);
    last = descriptor.fd;
  }
  return {};
}

Result<void> check_process(const Process& process, std::size_t files, std::set<std::int32_t>& ids) {
  if (process.exit_status) {
    if (!ids.insert(process.pid).second) return Err("its ID is used twice");
    return {};
  }
  if (process.threads.empty() || process.threads.front().tid != process.pid)
    return Err("its first thread is not its leader");
  for (const auto& thread : process.threads) {
    if (thread.tid < 1 || !ids.insert(thread.tid).second)
      return Err("thread ID {} is used twice or none", thread.tid);
  }
  TRY(check_memory(process.memory));
  return check_descriptors(process, files);
}

Result<void> check_terminal(const Terminal& terminal) {
  constexpr std::size_t kCharacters = 19, kLine = 65536;
  constexpr std::uint32_t kLargest = 65535;  // struct winsize
  if (terminal.device == 0 || !terminal.path.starts_with("/dev/")) return Err("it is no device");
  if (terminal.attributes.characters.data.size() != kCharacters || terminal.attributes.discipline > 255)
    return Err("its attributes are not those of a terminal");
  if (std::max({terminal.rows, terminal.columns, terminal.width, terminal.height}) > kLargest)
    return Err("its size is impossible");
  if (terminal.session < 0 || terminal.foreground < 0) return Err("impossible IDs");
  for (const auto& line : terminal.input) {
    if (line.data.data.size() > kLine) return Err("a line of {} bytes", line.data.data.size());
  }
  return {};
}

// Everybody who names a terminal names one that is there.
Result<void> check_terminals(const Snapshot& snapshot) {
  std::set<std::uint64_t> devices;
  for (const auto& terminal : snapshot.terminals) {
    if (!devices.insert(terminal.device).second) return Err("{} is there twice", terminal.path);
    TRY_IN(terminal.path, check_terminal(terminal));
  }
  std::set<std::uint64_t> masters;
  for (const auto& file : snapshot.files) {
    if (!file.terminal || file.terminal->device == 0) continue;
    const auto* terminal = snapshot.find_terminal(file.terminal->device);
    if (terminal == nullptr) return Err("{}: its terminal is not there", file.name);
    if (file.terminal->master && (!terminal->pseudo || !masters.insert(terminal->device).second))
      return Err("{} cannot have this master", terminal->path);
  }
  for (const auto& process : snapshot.processes) {
    if (process.terminal != 0 && !devices.contains(process.terminal))
      return Err("process {}: its terminal is not there", process.pid);
  }
  return {};
}

Result<void> check_file(const OpenFile& file, std::size_t files) {
  const bool has_details =
      (file.kind != "path" || file.path) && (file.kind != "pipe" || file.pipe) &&
      (file.kind != "eventfd" || file.eventfd) && (file.kind != "epoll" || file.epoll) &&
      (file.kind != "timerfd" || file.timerfd) && (file.kind != "signalfd" || file.signalfd) &&
      (file.kind != "socket" || file.socket) && (file.kind != "terminal" || file.terminal);
  if (!has_details) return Err("it says nothing about its {}", file.kind);
  if (file.position < 0) return Err("its position is negative");
  if (!file.epoll) return {};
  for (const auto& watch : file.epoll->watches) {
    if (watch.file >= files) return Err("it watches a file that is not there");
  }
  return {};
}

}  // namespace

Result<void> validate(const Snapshot& snapshot) {
  if (snapshot.processes.empty()) return Err("there is no process in it");
  std::set<std::int32_t> ids, seen;
  for (const auto& process : snapshot.processes) {
    const auto name = fmt::format("process {}", process.pid);
    if (process.pid < 2 || process.pgrp < 0 || process.session < 0) return Err("{}: impossible IDs", name);
    TRY_IN(name, check_process(process, snapshot.files.size(), ids));
    if (!seen.contains(process.ppid) && snapshot.find(process.ppid) != nullptr)
      return Err("{}: it is listed before its parent", name);
    seen.insert(process.pid);
  }
  for (std::size_t i = 0; i < snapshot.files.size(); ++i)
    TRY_IN(fmt::format("file {}", i), check_file(snapshot.files[i], snapshot.files.size()));
  TRY(check_terminals(snapshot));
  for (const auto& memory : snapshot.shared_memory) {
    if (memory.size > kHighestAddress) return Err("shared memory {} is too large", memory.inode);
    TRY_IN(fmt::format("shared memory {}", memory.inode), check_pages(memory.pages, memory.size));
  }
  return {};
}

}  // namespace upkeep::native
