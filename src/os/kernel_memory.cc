#include "os/kernel_memory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <mutex>
#include <optional>

#include "common/page_size.h"
#include "os/bpf.h"
#include "os/file.h"

namespace upkeep::os {

// What the program is given, and where it puts its answers.
struct KernelMemory::Question {
  static constexpr std::size_t kRoom = 256;
  std::uint64_t address = 0;
  std::int64_t answer = 0;
  std::uint64_t task = 0, map = 0, slot = 0, cpu = 0;
  std::array<std::byte, kRoom> bytes = {};
};

namespace {

Result<UniqueFd> make_map() {
  bpf_attr attributes = {};
  attributes.map_type = BPF_MAP_TYPE_PERCPU_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = 8;
  attributes.max_entries = 1;
  UniqueFd map(bpf::call(BPF_MAP_CREATE, attributes));
  if (!map.valid()) return ErrnoErr("a BPF map cannot be made");
  return map;
}

// "0-3,8"
Result<std::vector<std::uint32_t>> possible_cpus() {
  TRY_ASSIGN(const auto text, read_file("/sys/devices/system/cpu/possible"));
  std::vector<std::uint32_t> cpus;
  constexpr std::uint32_t kMost = 1U << 16U;
  const char *at = text.data(), *end = text.data() + text.size();
  while (at < end && *at != '\n') {
    std::uint32_t first = 0, last = 0;
    at = std::from_chars(at, end, first).ptr;
    last = first;
    if (at < end && *at == '-') at = std::from_chars(at + 1, end, last).ptr;
    if (last < first || last > kMost || (at < end && *at != ',' && *at != '\n')) break;
    for (auto cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (at < end && *at == ',') ++at;
  }
  if (cpus.empty()) return Err("the list of CPUs cannot be read");
  return cpus;
}

}  // namespace

Result<KernelMemory> KernelMemory::open() {
  TRY_ASSIGN(auto layout, Btf::of_kernel());
  KernelMemory memory(std::move(layout));
  TRY_ASSIGN(memory.map_, make_map());
  using namespace bpf;
  constexpr auto kArgument = r6;
  constexpr auto kRoom = static_cast<std::int32_t>(Question::kRoom);
  std::vector<bpf_insn> program = {
      move(kArgument, r1), call_helper(BPF_FUNC_get_current_task),
      store(kArgument, offsetof(Question, task), r0),
      // Only to its stack does the kernel let it copy.
      move(r1, frame), add(r1, -kRoom), set(r2, kRoom), load(r3, kArgument, offsetof(Question, address)),
      call_helper(BPF_FUNC_probe_read_kernel), store(kArgument, offsetof(Question, answer), r0)};
  for (std::int32_t at = 0; at < kRoom; at += 8) {
    program.push_back(load(r1, frame, at - kRoom));
    program.push_back(store(kArgument, static_cast<std::ptrdiff_t>(offsetof(Question, bytes)) + at, r1));
  }
  // The first element of the map as that CPU has it, and the map.
  const auto map = instruction(BPF_LD | BPF_DW | BPF_IMM, r1, BPF_PSEUDO_MAP_FD, 0, memory.map_.get());
  program.insert(program.end(),
                 {clear(frame, -8), map, bpf_insn{}, store(kArgument, offsetof(Question, map), r1),
                  move(r2, frame), add(r2, -8), load(r3, kArgument, offsetof(Question, cpu)),
                  call_helper(BPF_FUNC_map_lookup_percpu_elem),
                  store(kArgument, offsetof(Question, slot), r0), set(r0, 0), exit_program()});
  bpf_attr attributes = {};
  attributes.prog_type = BPF_PROG_TYPE_SYSCALL;
  attributes.prog_flags = BPF_F_SLEEPABLE;
  TRY_ASSIGN(memory.program_, load_program(program, attributes, "reads the kernel's memory"));
  TRY(memory.learn_cpus());
  return memory;
}

namespace {

struct Own {
  std::mutex mutex;
  std::optional<Result<KernelMemory>> memory;
  int uses = 0;
};
Own& the_own() {
  static Own own;
  return own;
}

}  // namespace

const Result<KernelMemory>& KernelMemory::own() {
  auto& own = the_own();
  const std::scoped_lock lock(own.mutex);
  if (!own.memory) own.memory.emplace(open());
  return *own.memory;
}

KernelMemory::Use::Use() {
  auto& own = the_own();
  const std::scoped_lock lock(own.mutex);
  ++own.uses;
}

KernelMemory::Use::~Use() {
  auto& own = the_own();
  const std::scoped_lock lock(own.mutex);
  if (--own.uses == 0) own.memory.reset();
}

Result<void> KernelMemory::ask(Question& question) const {
  bpf_attr attributes = {};
  attributes.test.prog_fd = static_cast<std::uint32_t>(program_.get());
  attributes.test.ctx_in = reinterpret_cast<std::uintptr_t>(&question);
  attributes.test.ctx_size_in = sizeof question;
  if (bpf::call(BPF_PROG_TEST_RUN, attributes) < 0) return ErrnoErr("reading the kernel's memory");
  return {};
}

Result<void> KernelMemory::read(std::uint64_t address, std::span<std::byte> into) const {
  while (!into.empty()) {
    Question question;
    // All of the room is read: it ends with the page that the last wanted byte lies in, at the latest.
    const auto piece = std::min(into.size(), Question::kRoom);
    const auto left_in_page = kPageSize - (address + piece - 1) % kPageSize - 1 + piece;
    const auto before = left_in_page < Question::kRoom ? Question::kRoom - left_in_page : 0;
    question.address = address - before;
    TRY(ask(question));
    if (question.answer != 0) return Err("the kernel has no memory at {:#x}", address);
    std::copy_n(question.bytes.begin() + static_cast<std::ptrdiff_t>(before), piece, into.begin());
    into = into.subspan(piece);
    address += piece;
  }
  return {};
}

Result<std::uint64_t> KernelMemory::number(std::uint64_t address, const char* structure,
                                           const char* path) const {
  const auto member = layout_.member(structure, path);
  std::uint64_t value = 0;
  if (!member || member->size > sizeof value) return Err("this kernel has no {}.{}", structure, path);
  TRY(read(address + member->offset, std::as_writable_bytes(std::span(&value, 1)).first(member->size)));
  return value;
}

Result<std::uint64_t> KernelMemory::current_task() const {
  Question question;
  TRY(ask(question));
  return question.task;
}

Result<std::uint64_t> KernelMemory::behind(Fd fd) const {
  TRY_ASSIGN(const auto task, current_task());
  TRY_ASSIGN(const auto files, number(task, "task_struct", "files"));
  TRY_ASSIGN(const auto table, number(files, "files_struct", "fdt"));
  TRY_ASSIGN(const auto pointers, number(table, "fdtable", "fd"));
  TRY_ASSIGN(const auto file, value<std::uint64_t>(pointers + static_cast<std::uint64_t>(fd.get()) * 8));
  return number(file, "file", "private_data");
}

Result<void> KernelMemory::learn_cpus() {
  TRY_ASSIGN(const auto cpus, possible_cpus());
  for (const auto cpu : cpus) {
    Question question;
    question.cpu = cpu;
    TRY(ask(question));
    if (question.slot == 0) return Err("the kernel knows no CPU {}", cpu);
    const auto pointers = layout_.member("bpf_array", "pptrs");
    if (!pointers) return Err("this kernel has no bpf_array.pptrs");
    TRY_ASSIGN(const auto common, value<std::uint64_t>(question.map + pointers->offset));
    cpus_.push_back(question.slot - common);
  }
  return {};
}

Result<std::uint64_t> KernelMemory::per_cpu_sum(std::uint64_t address) const {
  std::uint64_t sum = 0;
  for (const auto offset : cpus_) {
    TRY_ASSIGN(const auto its, value<std::uint64_t>(address + offset));
    sum += its;
  }
  return sum;
}

}  // namespace upkeep::os
