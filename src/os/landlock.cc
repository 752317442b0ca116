#include "os/landlock.h"

#include <linux/landlock.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "os/bpf.h"
#include "os/file.h"
#include "os/kernel_memory.h"
#include "os/procfs.h"

namespace upkeep::os {
namespace {

using Word = std::uint64_t;
// Of what the security modules keep with credentials, so much is looked through for what is Landlock's.
constexpr std::size_t kMostWords = 32;
using Words = std::array<Word, kMostWords>;

bool kernel_has_landlock() {
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 0 ||
         (errno != ENOSYS && errno != EOPNOTSUPP);
}

Result<Words> own_words(const KernelMemory& kernel) {
  TRY_ASSIGN(const auto task, kernel.current_task());
  TRY_ASSIGN(const auto credentials, kernel.number(task, "task_struct", "cred"));
  TRY_ASSIGN(const auto words, kernel.number(credentials, "cred", "security"));
  return kernel.value<Words>(words);
}

Result<void> restrict_this_thread() {
  // It gives one right up, which nobody here uses.
  landlock_ruleset_attr rules = {};
  rules.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SYM;
  const UniqueFd ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, sizeof rules.handled_access_fs, 0)));
  if (!ruleset.valid()) return ErrnoErr("landlock_create_ruleset");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return ErrnoErr("PR_SET_NO_NEW_PRIVS");
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) < 0) return ErrnoErr("landlock_restrict_self");
  return {};
}

// Each domain knows the one that it was made in.
bool is_made_in(const KernelMemory& kernel, Word inner, Word outer) {
  const char* domain = kernel.layout().size_of("landlock_domain") ? "landlock_domain" : "landlock_ruleset";
  const auto inner_place = kernel.number(inner, domain, "hierarchy");
  const auto outer_place = kernel.number(outer, domain, "hierarchy");
  if (!inner_place || !outer_place || *outer_place == 0) return false;
  const auto parent = kernel.number(*inner_place, "landlock_hierarchy", "parent");
  return parent && *parent == *outer_place;
}

// Where Landlock's begins in what the security modules keep with credentials: that depends on which of them
// are there, and in what order. A thread finds out that restricts itself twice, and ends.
Result<std::size_t> learn_offset(const KernelMemory& kernel) {
  auto learn = [&kernel]() -> Result<std::size_t> {
    TRY(restrict_this_thread());
    TRY_ASSIGN(const auto outer, own_words(kernel));
    TRY(restrict_this_thread());
    TRY_ASSIGN(const auto inner, own_words(kernel));
    for (std::size_t i = 0; i < kMostWords; ++i) {
      if (outer[i] != inner[i] && is_made_in(kernel, inner[i], outer[i])) return i * sizeof(Word);
    }
    return Err("what Landlock keeps with a task is not found");
  };
  return std::async(std::launch::async, learn).get();
}

// The kernel runs it for each task (its documentation bpf/bpf_iterators.rst, 5.8 on). It writes the number of
// those that Landlock keeps anything with, as it is in our PID namespace.
struct Iterator {
  std::vector<bpf_insn> program;
  std::uint32_t function = 0;  // what it is attached to

  Result<UniqueFd> load() const {
    bpf_attr attributes = {};
    attributes.prog_type = BPF_PROG_TYPE_TRACING;
    attributes.expected_attach_type = BPF_TRACE_ITER;
    attributes.attach_btf_id = function;
    return bpf::load_program(program, attributes, "looks at credentials");
  }
};

class IteratorWriter {
 public:
  // For this kernel, and our PID namespace.
  static Result<Iterator> write(const KernelMemory& kernel) {
    IteratorWriter writer(kernel.layout());
    TRY_ASSIGN(const auto offset, learn_offset(kernel));
    TRY_ASSIGN(const auto own_task, kernel.current_task());
    TRY_ASSIGN(const auto own_pid, kernel.number(own_task, "task_struct", "thread_pid"));
    TRY_ASSIGN(const auto level, kernel.number(own_pid, "pid", "level"));
    writer.compile(offset, level);
    const auto function = kernel.layout().function("bpf_iter_task");
    if (writer.unknown_ || !function)
      return Err("this kernel's BTF does not tell how it keeps tasks and their credentials");
    return Iterator{std::move(writer.program_), *function};
  }

 private:
  static constexpr auto kContext = bpf::r6, kTask = bpf::r7, kAt = bpf::r8;
  static constexpr int kFound = -16, kFoundMore = -8;  // on its stack
  static constexpr std::size_t kMostFound = 16;

  explicit IteratorWriter(const Btf& layout) : layout_(layout) {}

  void compile(std::size_t offset, std::size_t level) {
    using namespace bpf;
    append({move(kContext, r1), load(kTask, kContext, place("bpf_iter__task", "task"))});
    end_where_zero(kTask);  // it is called once more when all have been
    append({move(kAt, kTask)});
    follow(place("task_struct", "cred"));
    follow(place("cred", "security"));
    // The domain; since 6.15 what is logged of it and those to come too.
    append({clear(frame, kFound), clear(frame, kFoundMore)});
    copy(static_cast<int>(offset), std::min(size("landlock_cred_security"), kMostFound));
    append({load(r1, frame, kFound), load(r2, frame, kFoundMore), either(r1, r2)});
    end_where_zero(r1);
    append({move(kAt, kTask)});
    follow(place("task_struct", "thread_pid"));
    copy(place("pid", "numbers") + static_cast<int>(level * size("upid")) + place("upid", "nr"),
         sizeof(pid_t));
    append({load(r1, kContext, place("bpf_iter__task", "meta")), load(r1, r1, place("bpf_iter_meta", "seq")),
            move(r2, frame), add(r2, kFound), set(r3, sizeof(pid_t)), call_helper(BPF_FUNC_seq_write)});
    for (const auto at : to_end_) program_[at].off = static_cast<std::int16_t>(program_.size() - at - 1);
    append({set(r0, 0), exit_program()});
  }

  // From what kAt points to, BEHIND bytes further on, to kFound.
  void copy(int behind, std::size_t bytes) {
    using namespace bpf;
    append({move(r1, frame), add(r1, kFound), set(r2, static_cast<int>(bytes)), move(r3, kAt),
            add(r3, behind), call_helper(BPF_FUNC_probe_read_kernel)});
  }
  void follow(int behind) {
    copy(behind, sizeof(Word));
    append({bpf::load(kAt, bpf::frame, kFound)});
  }
  void end_where_zero(bpf::Register one) {
    to_end_.push_back(program_.size());
    append({bpf::skip_if(one, 0, 0)});
  }
  void append(std::initializer_list<bpf_insn> some) { program_.insert(program_.end(), some); }

  int place(const char* structure, const char* path) {
    const auto member = layout_.member(structure, path);
    unknown_ |= !member;
    return member ? static_cast<int>(member->offset) : 0;
  }
  std::size_t size(const char* structure) {
    const auto its = layout_.size_of(structure);
    unknown_ |= !its;
    return its.value_or(0);
  }

  const Btf& layout_;
  std::vector<bpf_insn> program_;
  std::vector<std::size_t> to_end_;  // the instructions that jump there
  bool unknown_ = false;
};

Result<Iterator> write_iterator() {
  const auto& kernel = KernelMemory::own();
  if (!kernel) return tl::unexpected(kernel.error());
  return IteratorWriter::write(*kernel);
}

// Once for each kernel that this process lives to see: a program of somebody's may be carried into another.
Result<UniqueFd> load_iterator() {
  static std::mutex mutex;
  static std::string boot;
  static std::optional<Result<Iterator>> written;
  const std::scoped_lock lock(mutex);
  if (const auto now = boot_id(); !written || now != boot) {
    written.emplace(write_iterator());
    boot = now;
  }
  return *written ? (*written)->load() : tl::unexpected(written->error());
}

Result<UniqueFd> start(Fd program) {
  bpf_attr attributes = {};
  attributes.link_create.prog_fd = static_cast<std::uint32_t>(program.get());
  attributes.link_create.attach_type = BPF_TRACE_ITER;
  const UniqueFd link(bpf::call(BPF_LINK_CREATE, attributes));
  if (!link.valid()) return ErrnoErr("BPF_LINK_CREATE for an iterator");
  attributes = {};
  attributes.iter_create.link_fd = static_cast<std::uint32_t>(link.get());
  UniqueFd iterator(bpf::call(BPF_ITER_CREATE, attributes));
  if (!iterator.valid()) return ErrnoErr("BPF_ITER_CREATE");
  return iterator;
}

}  // namespace

Result<std::set<pid_t>> restricted_by_landlock() {
  if (!kernel_has_landlock()) return {};
  TRY_ASSIGN(const auto program, load_iterator());
  TRY_ASSIGN(const auto iterator, start(program));
  TRY_ASSIGN(const auto found, read_all(iterator));
  std::vector<pid_t> tasks(found.size() / sizeof(pid_t));
  std::memcpy(tasks.data(), found.data(), tasks.size() * sizeof(pid_t));
  return std::set<pid_t>(tasks.begin(), tasks.end());
}

}  // namespace upkeep::os
