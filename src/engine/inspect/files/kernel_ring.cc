#include "engine/inspect/files/kernel_ring.h"

#include <time.h>
#include <algorithm>
#include <array>
#include <set>

#include "os/kernel_memory.h"

namespace upkeep::engine {
namespace {

constexpr const char* kRing = "io_ring_ctx";

// Every member that the structure has had from 6.1 to 7.3. Whatever a ring can be given has its place there:
// a kernel with another member may have something that nobody here has heard of.
constexpr std::array<std::string_view, 141> kKnown = {"apoll_cache",
                                                      "bpf_filters",
                                                      "bpf_ops",
                                                      "buf_data",
                                                      "buf_table",
                                                      "cached_cq_tail",
                                                      "cached_sq_head",
                                                      "cancel_seq",
                                                      "cancel_table",
                                                      "cancel_table_locked",
                                                      "cancelable_uring_cmd",
                                                      "check_cq",
                                                      "clock_offset",
                                                      "clockid",
                                                      "cmd_cache",
                                                      "compat",
                                                      "completion_lock",
                                                      "cq_entries",
                                                      "cq_extra",
                                                      "cq_last_tm_flush",
                                                      "cq_overflow_list",
                                                      "cq_timeouts",
                                                      "cq_wait",
                                                      "cq_wait_arg",
                                                      "cq_wait_nr",
                                                      "cq_wait_size",
                                                      "cqe_cached",
                                                      "cqe_sentinel",
                                                      "defer_list",
                                                      "drain_active",
                                                      "drain_disabled",
                                                      "drain_next",
                                                      "drain_req",
                                                      "dummy_ubuf",
                                                      "evfd_last_cq_tail",
                                                      "exit_work",
                                                      "fallback_llist",
                                                      "fallback_work",
                                                      "file_alloc_end",
                                                      "file_alloc_start",
                                                      "file_data",
                                                      "file_table",
                                                      "flags",
                                                      "futex_cache",
                                                      "futex_list",
                                                      "has_evfd",
                                                      "hash_map",
                                                      "hpage_acct",
                                                      "hybrid_poll_time",
                                                      "imu_cache",
                                                      "int_flags",
                                                      "io_bl",
                                                      "io_bl_xa",
                                                      "io_buffers_cache",
                                                      "io_buffers_comp",
                                                      "io_buffers_pages",
                                                      "io_ev_fd",
                                                      "iopoll_list",
                                                      "iowq_limits",
                                                      "iowq_limits_set",
                                                      "kcov_handle",
                                                      "locked_free_list",
                                                      "locked_free_nr",
                                                      "lockless_cq",
                                                      "loop_step",
                                                      "ltimeout_list",
                                                      "mm_account",
                                                      "mmap_lock",
                                                      "n_ring_pages",
                                                      "n_sqe_pages",
                                                      "napi_busy_poll_dt",
                                                      "napi_enabled",
                                                      "napi_ht",
                                                      "napi_list",
                                                      "napi_lock",
                                                      "napi_prefer_busy_poll",
                                                      "napi_track_mode",
                                                      "netmsg_cache",
                                                      "node_cache",
                                                      "notify_method",
                                                      "nr_drained",
                                                      "nr_req_allocated",
                                                      "nr_user_bufs",
                                                      "nr_user_files",
                                                      "off_timeout_used",
                                                      "param_region",
                                                      "pers_next",
                                                      "personalities",
                                                      "poll_activated",
                                                      "poll_multi_queue",
                                                      "poll_wq",
                                                      "poll_wq_rcu",
                                                      "poll_wq_rcu_pending",
                                                      "poll_wq_task_work",
                                                      "ref_comp",
                                                      "refs",
                                                      "restricted",
                                                      "restrictions",
                                                      "retry_llist",
                                                      "ring_pages",
                                                      "ring_region",
                                                      "rings",
                                                      "rings_rcu",
                                                      "rsrc_backup_node",
                                                      "rsrc_cached_refs",
                                                      "rsrc_node",
                                                      "rsrc_node_cache",
                                                      "rsrc_put_llist",
                                                      "rsrc_put_work",
                                                      "rsrc_quiesce",
                                                      "rsrc_quiesce_wq",
                                                      "rsrc_ref_list",
                                                      "rsrc_ref_lock",
                                                      "rw_cache",
                                                      "sq_array",
                                                      "sq_creds",
                                                      "sq_data",
                                                      "sq_entries",
                                                      "sq_region",
                                                      "sq_sqes",
                                                      "sq_thread_idle",
                                                      "sqd_list",
                                                      "sqe_pages",
                                                      "sqo_sq_wait",
                                                      "submit_state",
                                                      "submitter_task",
                                                      "syscall_iopoll",
                                                      "task_complete",
                                                      "tctx_list",
                                                      "tctx_lock",
                                                      "timeout_list",
                                                      "timeout_lock",
                                                      "uring_cache",
                                                      "uring_lock",
                                                      "user",
                                                      "user_bufs",
                                                      "waitid_list",
                                                      "work_head",
                                                      "work_list",
                                                      "work_llist",
                                                      "zcrx_ctxs"};

struct Special {
  const char* member;
  const char* what;
  bool everywhere;  // a kernel without it is not understood
};
// Zero where a ring has nothing of the kind.
constexpr std::array kSpecial = {
    Special{"io_ev_fd", "an eventfd registered (IORING_REGISTER_EVENTFD)", true},
    Special{"personalities.xa_head", "credentials registered (IORING_REGISTER_PERSONALITY)", true},
    Special{"io_bl_xa.xa_head", "buffers provided (IORING_OP_PROVIDE_BUFFERS, IORING_REGISTER_PBUF_RING)",
            true},
    Special{"io_bl", "buffers provided (IORING_OP_PROVIDE_BUFFERS, IORING_REGISTER_PBUF_RING)", false},
    Special{"iowq_limits", "limits for its workers (IORING_REGISTER_IOWQ_MAX_WORKERS)", true},
    Special{"check_cq", "lost completions", true},
    Special{"sq_data", "a thread that looks for requests (IORING_SETUP_SQPOLL)", true},
    Special{"cq_wait_size", "a region for arguments registered (IORING_REGISTER_MEM_REGION)", false},
    Special{"param_region.nr_pages", "a region for arguments registered (IORING_REGISTER_MEM_REGION)", false},
    Special{"zcrx_ctxs.xa_head", "queues of network devices registered (IORING_REGISTER_ZCRX_IFQ)", false},
    Special{"bpf_ops", "a BPF program attached", false},
    Special{"bpf_filters", "a BPF filter attached", false},
    Special{"loop_step", "a BPF program attached", false},
};

class RingReader {
 public:
  RingReader(const os::KernelMemory& kernel, std::uint64_t context) : kernel_(kernel), context_(context) {}

  Result<KernelRing> read() {
    TRY(look_for_unknown_members());
    KernelRing ring;
    TRY_ASSIGN(const auto flags, number("flags"));
    ring.flags = static_cast<std::uint32_t>(flags);
    TRY_ASSIGN(ring.in_flight, in_flight());
    for (const auto& special : kSpecial) {
      if (!special.everywhere && !kernel_.layout().member(kRing, special.member)) continue;
      TRY_ASSIGN(const auto value, number(special.member));
      if (value != 0) ring.more.emplace_back(special.what);
    }
    if (kernel_.layout().member(kRing, "clockid")) {
      TRY_ASSIGN(const auto clock, number("clockid"));
      if (clock != CLOCK_MONOTONIC) ring.more.emplace_back("another clock (IORING_REGISTER_CLOCK)");
    }
    TRY_ASSIGN(const bool restricted, has_restrictions());
    if (restricted) ring.more.emplace_back("restrictions (IORING_REGISTER_RESTRICTIONS)");
    TRY_ASSIGN(const bool numbered, has_number());
    if (numbered)
      ring.more.emplace_back("users who know it by a number of their own (IORING_REGISTER_RING_FDS)");
    return ring;
  }

 private:
  Result<std::uint64_t> number(const char* member) const { return kernel_.number(context_, kRing, member); }

  Result<void> look_for_unknown_members() const {
    const auto members = kernel_.layout().members(kRing);
    if (members.empty()) return Err("this kernel has no {}", kRing);
    for (const auto member : members) {
      if (std::ranges::find(kKnown, member) == kKnown.end())
        return Err("this kernel's io_uring has something that this version does not know ({})", member);
    }
    return {};
  }

  // All requests that there is memory for hold a reference, and so does nothing else of an idle ring; those
  // that are kept for later use are in a list, or in two (6.1).
  Result<std::uint64_t> in_flight() const {
    constexpr std::uint64_t kNotPerCpu = 3;  // __PERCPU_REF_ATOMIC, __PERCPU_REF_DEAD
    TRY_ASSIGN(const auto counter, number("refs.percpu_count_ptr"));
    if ((counter & kNotPerCpu) != 0) return Err("it is being closed");
    TRY_ASSIGN(const auto references, kernel_.per_cpu_sum(counter));
    std::uint64_t kept = 0;
    if (kernel_.layout().member(kRing, "locked_free_nr")) {
      TRY_ASSIGN(kept, number("locked_free_nr"));
    }
    TRY_ASSIGN(auto next, number("submit_state.free_list.next"));
    for (; next != 0 && kept <= references; ++kept) {
      TRY_ASSIGN(next, kernel_.value<std::uint64_t>(next));
    }
    return references - kept;
  }

  Result<bool> has_restrictions() const {
    const auto restrictions = kernel_.layout().member(kRing, "restrictions");
    if (!restrictions) return Err("this kernel has no {}.restrictions", kRing);
    std::vector<std::byte> bytes(restrictions->size);
    TRY(kernel_.read(context_ + restrictions->offset, bytes));
    return std::ranges::any_of(bytes, [](std::byte byte) { return byte != std::byte{0}; });
  }

  // Whoever has used the ring is in its list.
  Result<bool> has_number() const {
    const auto list = kernel_.layout().member(kRing, "tctx_list");
    const auto link = kernel_.layout().member("io_tctx_node", "ctx_node");
    const auto numbers = kernel_.layout().member("io_uring_task", "registered_rings");
    if (!list || !link || !numbers) return Err("this kernel does not tell who uses the ring");
    constexpr int kMostUsers = 1 << 16;
    const auto head = context_ + list->offset;
    TRY_ASSIGN(auto next, kernel_.value<std::uint64_t>(head));
    for (int users = 0; next != head; ++users) {
      if (users == kMostUsers) return Err("who uses it changes all the time");
      TRY_ASSIGN(const auto task, kernel_.number(next - link->offset, "io_tctx_node", "task"));
      TRY_ASSIGN(const auto its, kernel_.number(task, "task_struct", "io_uring"));
      std::vector<std::byte> bytes(its == 0 ? 0 : numbers->size);
      TRY(kernel_.read(its + numbers->offset, bytes));
      if (std::ranges::any_of(bytes, [](std::byte byte) { return byte != std::byte{0}; })) return true;
      TRY_ASSIGN(next, kernel_.value<std::uint64_t>(next));
    }
    return false;
  }

  const os::KernelMemory& kernel_;
  std::uint64_t context_;
};

}  // namespace

Result<KernelRing> read_kernel_ring(os::Fd ring) {
  const auto& kernel = os::KernelMemory::own();
  if (!kernel) return tl::unexpected(kernel.error());
  TRY_ASSIGN(const auto context, kernel->behind(ring));
  return RingReader(*kernel, context).read();
}

}  // namespace upkeep::engine
