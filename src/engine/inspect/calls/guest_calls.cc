#include "engine/inspect/calls/guest_calls.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "engine/inspect/calls/signal_frame.h"
#include "engine/inspect/memory/own_pages.h"
#include "engine/inspect/memory/page_collector.h"
#include "engine/model/snapshot.h"
#include "os/file.h"

namespace upkeep::engine {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kRedZone = 128, kScratch = 512, kFrameAlignment = 64;
constexpr std::uint64_t kRoom = kSignalFrameRoom + kScratch + CallChain::kRoom;
constexpr std::uint64_t kDirectionFlag = 0x400;

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
  std::array<std::byte, kPage> bytes;
  return memory.read(page, bytes) && all_zero(bytes);
}

// Pages at the lower end of the main stack that were never touched (the kernel maps more than it uses), or by
// nobody but us: then they are all zero. Without the last one of them. Empty where they are not enough for a
// frame.
PageRange untouched_stack(pid_t pid, const std::vector<Mapping>& mappings, const os::TaskMemory& memory) {
  const auto stack =
      std::find_if(mappings.begin(), mappings.end(), [](const auto& m) { return m.name == "[stack]"; });
  if (stack == mappings.end() || !stack->write) return {};
  auto pagemap = os::open_file(fmt::format("/proc/{}/pagemap", pid), O_RDONLY);
  constexpr std::size_t kMostPages = 64;
  std::array<std::uint64_t, kMostPages> entries = {};
  const auto pages = std::min<std::size_t>(kMostPages, stack->length() / kPage);
  if (!pagemap || !os::pread_all(*pagemap, std::as_writable_bytes(std::span(entries.data(), pages)),
                                 static_cast<off_t>(stack->start / kPage * sizeof(std::uint64_t))))
    return {};
  std::size_t untouched = 0;
  while (untouched < pages && ((entries[untouched] & kPresentOrSwapped) == 0 ||
                               reads_as_zero(stack->start + untouched * kPage, memory)))
    ++untouched;
  if (untouched * kPage < kRoom + kPage) return {};
  return {stack->start, stack->start + (untouched - 1) * kPage};
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

PageRange GuestCode::frame_range(std::uint64_t stack_pointer) const {
  if (room != 0) return {frames, frames + room};
  return {stack_pointer - kRedZone - kRoom - kFrameAlignment, stack_pointer};
}

Result<GuestCalls> GuestCalls::begin(const os::Tracee& thread, const os::TaskMemory& memory,
                                     const GuestCode& code) {
  std::uint64_t used = 0;
  return begin({&thread, &memory, &code}, used);
}

Result<GuestCalls> GuestCalls::begin(const GuestThread& one, std::uint64_t& used) {
  const auto& [its_thread, its_memory, its_code, stopped, signal] = one;
  const auto& thread = *its_thread;
  const auto& memory = *its_memory;
  const auto& code = *its_code;
  GuestCalls calls(thread, memory);
  TRY_ASSIGN(calls.before_, thread.registers());
  std::vector<std::uint8_t> read;
  if (stopped == nullptr) {
    TRY_ASSIGN(calls.mask_, thread.signal_mask());
    TRY_ASSIGN(read, thread.xstate());
  } else {
    calls.mask_ = stopped->signal_mask;
  }
  const auto& xstate = stopped != nullptr ? stopped->registers.xstate.data : read;
  calls.own_page_ = code.room != 0;
  if (calls.own_page_ && code.chain.complete()) calls.signal_ = signal;
  calls.chain_ = code.chain;
  const std::uint64_t below = kScratch + (calls.makes_chains() ? CallChain::kRoom : 0);
  const std::uint64_t bottom =
      calls.own_page_ ? code.frames + used : (calls.before_.rsp - kRedZone - kRoom) & ~(kFrameAlignment - 1);
  calls.scratch_ = bottom;
  calls.frame_ = bottom + below;
  const auto frame = build_signal_frame(calls.frame_, code.sigreturn, calls.before_, calls.mask_, xstate);
  if (frame.size() > kSignalFrameRoom) return Err("this processor's registers do not fit into a frame");
  calls.written_ = below + frame.size();
  used += (calls.written_ + kFrameAlignment - 1) & ~(kFrameAlignment - 1);
  TRY(memory.write(calls.frame_, std::as_bytes(std::span(frame))));

  calls.inside_ = calls.before_;
  calls.inside_.rip = code.system_call;
  calls.inside_.rsp = calls.frame_;
  calls.inside_.rax = 39;  // getpid: if we die at once, this is what it does
  calls.inside_.orig_rax = ~0ULL;
  calls.inside_.eflags &= ~(kDirectionFlag | kTrapFlag);
  // Registers before the mask here, and after it at the end: in between the frame gives the mask back.
  calls.active_ = true;
  TRY(thread.set_registers(calls.inside_));
  TRY(thread.set_signal_mask(calls.makes_chains() ? ~(1ULL << static_cast<unsigned>(signal - 1)) : ~0ULL));
  return calls;
}

GuestCalls::GuestCalls(GuestCalls&& other) noexcept
    : thread_(other.thread_),
      memory_(other.memory_),
      active_(std::exchange(other.active_, false)),
      own_page_(other.own_page_),
      frame_(other.frame_),
      scratch_(other.scratch_),
      written_(other.written_),
      signal_(other.signal_),
      chain_(other.chain_),
      chain_address_(other.chain_address_),
      at_signal_(other.at_signal_),
      before_(other.before_),
      inside_(other.inside_),
      mask_(other.mask_) {}

GuestCalls::~GuestCalls() { (void)end(); }

Result<os::Stop> GuestCalls::next_stop() {
  TRY_ASSIGN(const auto stop, thread_->wait(seconds(10)));
  if (stop.kind != os::Stop::Kind::ended) return stop;
  active_ = false;
  return tl::unexpected(Error("the task ended while it was being read", ESRCH));
}

Result<void> GuestCalls::await_system_call() {
  for (;;) {
    TRY_ASSIGN(const auto stop, next_stop());
    if (stop.kind == os::Stop::Kind::system_call) return {};
    // Only what nobody can block, and what does nothing.
    if (stop.kind == os::Stop::Kind::signal_delivery && stop.signal != signal_)
      return Err("signal {} came while a system call was run in the task", stop.signal);
    TRY(thread_->resume_to_system_call());
  }
}

Result<void> GuestCalls::begin_call(const GuestCall& call) {
  auto registers = inside_;
  registers.rax = static_cast<unsigned long long>(call.number);
  auto argument = [&](std::size_t number) {
    return call.arguments[number] == kAnswerPlace ? scratch_ : call.arguments[number];
  };
  registers.rdi = argument(0);
  registers.rsi = argument(1);
  registers.rdx = argument(2);
  registers.r10 = argument(3);
  registers.r8 = argument(4);
  registers.r9 = argument(5);
  TRY(thread_->set_registers(registers));
  at_signal_ = false;
  return thread_->resume_to_system_call();
}

Result<void> GuestCalls::go_on_to_its_end() {
  TRY(await_system_call());
  return thread_->resume_to_system_call();
}

Result<long> GuestCalls::end_call() {
  TRY(await_system_call());
  TRY_ASSIGN(const auto after, thread_->registers());
  return static_cast<long>(after.rax);
}

Result<GuestAnswer> GuestCalls::call(const GuestCall& call) {
  TRY(begin_call(call));
  TRY(go_on_to_its_end());
  TRY_ASSIGN(const auto returned, end_call());
  return GuestAnswer(returned, *memory_, scratch_);
}

Result<GuestAnswer> ThreadCalls::call(const GuestCall& call) {
  CallAnswer known;
  if (known_ != nullptr && known_->find(tid_, call, known)) return GuestAnswer(known);
  if (guest_ == nullptr) {
    TRY_ASSIGN(guest_, begin_());
  }
  return guest_->call(call);
}

Result<void> GuestCalls::begin_chain(std::span<const GuestCall> calls) {
  const CallChain chain(chain_, inside_.rip, calls, frame_, thread_->tid(), signal_);
  TRY(memory_->write(chain.address(), std::as_bytes(chain.words())));
  auto registers = inside_;
  registers.rip = chain_.pop_rax;
  registers.rsp = chain.stack();
  registers.r10 = calls.front().arguments[3];
  registers.r8 = calls.front().arguments[4];
  registers.r9 = calls.front().arguments[5];
  chain_address_ = chain.address();
  TRY(thread_->set_registers(registers));
  at_signal_ = false;
  return thread_->resume();
}

Result<void> GuestCalls::await_end_of_chain() {
  for (;;) {
    TRY_ASSIGN(const auto stop, next_stop());
    if (stop.kind == os::Stop::Kind::signal_delivery) {
      if (stop.signal != signal_)
        return Err("signal {} came while system calls were run in the task", stop.signal);
      TRY_ASSIGN(const auto registers, thread_->registers());
      at_signal_ = registers.rsp == frame_;
      if (at_signal_) return {};  // else it was somebody else's, and does nothing
    }
    TRY(thread_->resume());
  }
}

Result<std::vector<CallChain::Answer>> GuestCalls::end_chain(std::size_t count) {
  TRY(await_end_of_chain());
  std::vector<CallChain::Answer> answers(count);
  TRY(memory_->read(chain_address_, std::as_writable_bytes(std::span(answers))));
  return answers;
}

// Out of the system call's exit into a stop at which the kernel looks at interrupted system calls afterwards:
// what the thread was interrupted in before is then taken up again.
Result<void> GuestCalls::go_to_rest() {
  if (at_signal_) return {};  // such a stop already
  TRY(thread_->interrupt());
  TRY(thread_->set_registers(inside_));
  return thread_->resume();
}

Result<void> GuestCalls::end_at_rest() {
  if (!at_signal_) {
    TRY_ASSIGN(const auto stop, next_stop());
    if (!stop.was_interrupted()) return Err("the task stopped for another reason than was asked");
  }
  TRY(thread_->set_signal_mask(mask_));
  TRY(thread_->set_registers(before_));
  active_ = false;
  if (!own_page_) return {};
  const std::vector<std::byte> zeros(written_);
  return memory_->write(scratch_, zeros);
}

Result<void> GuestCalls::end() {
  if (!active_) return {};
  TRY(go_to_rest());
  return end_at_rest();
}

Result<GuestThreads> GuestThreads::begin(std::span<const One> threads) {
  constexpr std::size_t kMost = 64;
  GuestThreads group;
  group.threads_.reserve(std::min(threads.size(), kMost));
  const GuestCode* process = nullptr;
  std::uint64_t used = 0;
  for (const auto& one : threads) {
    if (std::exchange(process, one.code) != one.code) used = 0;
    const bool has_room = one.code->room == 0 || used + kRoom <= one.code->room;
    if (group.size() == kMost || !has_room) break;
    TRY_ASSIGN(auto calls, GuestCalls::begin(one, used));
    group.threads_.push_back(std::move(calls));
  }
  return group;
}

Result<void> take_answer(const GuestQuestion& question, pid_t tid, const GuestAnswer& answer) {
  if (answer.returned() < 0 && question.name != nullptr)
    return Err("{} in task {}: {}", question.name, tid, errno_text(static_cast<int>(-answer.returned())));
  return question.take(answer);
}

Result<void> GuestThreads::ask(const Questions& questions) {
  TRY(ask_by_chains(questions));
  return ask_one_by_one(questions);
}

Result<void> GuestThreads::ask_by_chains(const Questions& questions) {
  struct Asked {
    std::size_t thread, first, last;  // of its questions
  };
  std::vector<std::size_t> next(threads_.size(), 0);
  for (;;) {
    std::vector<Asked> asked;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const auto& its = questions.at(i);
      if (!threads_[i].makes_chains() || next[i] == its.size()) continue;
      std::vector<GuestCall> calls;
      const auto first = next[i];
      for (; next[i] < its.size() && calls.size() < CallChain::kMost; ++next[i]) {
        if (!fit_together(its[first].call, its[next[i]].call)) break;
        calls.push_back(its[next[i]].call);
      }
      TRY(threads_[i].begin_chain(calls));
      asked.push_back({i, first, next[i]});
    }
    if (asked.empty()) return {};
    for (const auto& [thread, first, last] : asked) {
      auto& guest = threads_[thread];
      TRY_ASSIGN(const auto answers, guest.end_chain(last - first));
      for (auto number = first; number < last; ++number) {
        const auto& [returned, written] = answers[number - first];
        TRY(take_answer(questions[thread][number], guest.thread_->tid(),
                        GuestAnswer(CallAnswer{returned, written})));
      }
    }
  }
}

Result<void> GuestThreads::ask_one_by_one(const Questions& questions) {
  std::vector<std::size_t> asked;
  for (std::size_t number = 0;; ++number) {
    asked.clear();
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (!threads_[i].makes_chains() && number < questions.at(i).size()) asked.push_back(i);
    }
    if (asked.empty()) return {};
    for (const auto i : asked) TRY(threads_[i].begin_call(questions[i][number].call));
    for (const auto i : asked) TRY(threads_[i].go_on_to_its_end());
    for (const auto i : asked) {
      auto& guest = threads_[i];
      TRY_ASSIGN(const long returned, guest.end_call());
      TRY(take_answer(questions[i][number], guest.thread_->tid(),
                      GuestAnswer(returned, *guest.memory_, guest.scratch_)));
    }
  }
}

Result<void> GuestThreads::end() {
  for (auto& thread : threads_) TRY(thread.go_to_rest());
  for (auto& thread : threads_) TRY(thread.end_at_rest());
  return {};
}

}  // namespace upkeep::engine
