// io_uring: rings of which nothing is in flight are carried, whatever was done with them; all others are
// refused by name and go on.

#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <cstring>

#include "fixture.h"
#include "os/io_uring.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

// As programs use one, without a library; it counts for itself what it has submitted.
class Ring {
 public:
  bool make(std::uint32_t entries, std::uint32_t flags = 0, std::uint32_t completions = 0) {
    flags_ = flags;
    parameters_ = {};
    parameters_.flags = flags;
    parameters_.cq_entries = completions;
    fd_ = static_cast<int>(::syscall(SYS_io_uring_setup, entries, &parameters_));
    if (fd_ < 0) return false;
    const auto& p = parameters_;
    std::size_t size = p.cq_off.cqes + p.cq_entries * cqe_size();
    if ((flags & os::kRingNoSqArray) == 0)
      size = std::max<std::size_t>(size, p.sq_off.array + 4 * p.sq_entries);
    rings_ = static_cast<char*>(
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, IORING_OFF_SQ_RING));
    entries_ = static_cast<char*>(
        ::mmap(nullptr, p.sq_entries * sqe_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd_, IORING_OFF_SQES));
    if (rings_ == MAP_FAILED || entries_ == MAP_FAILED) return false;
    for (std::uint32_t i = 0; (flags & os::kRingNoSqArray) == 0 && i < p.sq_entries; ++i)
      reinterpret_cast<std::uint32_t*>(rings_ + p.sq_off.array)[i] = i;
    tail_ = 0;
    return true;
  }
  int fd() const { return fd_; }
  char* rings() const { return rings_; }

  io_uring_sqe& next(std::uint8_t operation, std::uint64_t data) {
    auto* sqe =
        reinterpret_cast<io_uring_sqe*>(entries_ + (tail_ & (parameters_.sq_entries - 1)) * sqe_size());
    std::memset(sqe, 0, sqe_size());
    sqe->opcode = operation;
    sqe->user_data = data;
    ++tail_;
    return *sqe;
  }
  // The answer of io_uring_enter(2).
  long submit(std::uint32_t wait = 0) {
    const auto count = tail_ - word(parameters_.sq_off.head).load();
    word(parameters_.sq_off.tail).store(tail_);
    return ::syscall(SYS_io_uring_enter, fd_, count, wait, wait != 0 ? IORING_ENTER_GETEVENTS : 0, nullptr,
                     0);
  }
  std::uint32_t unread() const { return word(parameters_.cq_off.tail) - word(parameters_.cq_off.head); }
  // The oldest completion, which counts as read then.
  io_uring_cqe take() {
    const auto head = word(parameters_.cq_off.head).load();
    io_uring_cqe cqe;
    std::memcpy(&cqe, rings_ + parameters_.cq_off.cqes + (head & (parameters_.cq_entries - 1)) * cqe_size(),
                16);
    word(parameters_.cq_off.head).store(head + 1);
    return cqe;
  }
  // One request, and its answer, where nothing is unread.
  int ask(io_uring_sqe& /*last*/) {
    if (submit(1) < 0 || unread() != 1) return -10'000;
    return take().res;
  }

 private:
  std::atomic_ref<std::uint32_t> word(std::uint32_t at) const {
    return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(rings_ + at));
  }
  std::size_t cqe_size() const { return (flags_ & os::kRingCqe32) != 0 ? 32 : 16; }
  std::size_t sqe_size() const { return (flags_ & os::kRingSqe128) != 0 ? 128 : 64; }
  int fd_ = -1;
  std::uint32_t flags_ = 0, tail_ = 0;
  io_uring_params parameters_ = {};
  char *rings_ = nullptr, *entries_ = nullptr;
};

Ring ring, other_ring;

void submit_nop(std::uint64_t data) {
  ring.next(IORING_OP_NOP, data);
  HOLDS(ring.submit() == 1);
}

std::uint64_t address_of(const void* what) { return reinterpret_cast<std::uintptr_t>(what); }
int call_register(int fd, unsigned operation, const void* argument, unsigned count) {
  return static_cast<int>(::syscall(SYS_io_uring_register, fd, operation, argument, count));
}

class Rings : public TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    io_uring_params parameters = {};
    const os::UniqueFd fd(static_cast<int>(::syscall(SYS_io_uring_setup, 2, &parameters)));
    if (!fd.valid()) GTEST_SKIP() << "no io_uring on this kernel";
  }
  // What SETUP does to the ring; 4 entries.
  void expect_refused(const char* words, const std::function<void()>& setup,
                      const std::function<void()>& step = {}) {
    const Subject subject(
        [&] {
          HOLDS(ring.make(4));
          setup();
        },
        step);
    EXPECT_NO_COMPLAINT(subject);
    auto saved = save_trees({subject.pid()}, images(), false);
    ASSERT_FALSE(saved) << words;
    EXPECT_THAT(saved.error().message(), HasSubstr(words));
    EXPECT_TRUE(moves(subject.pid())) << words;
    EXPECT_NO_COMPLAINT(subject);
  }
};

// What a program does with a ring, when the test asks for it.
void use_of_all_kinds() {
  if (board().value[0] == 0) return;
  board().value[0] = 0;
  int ends[2];
  HOLDS(::pipe(ends) == 0);
  char text[8] = {};
  auto& write = ring.next(IORING_OP_WRITE, 1);
  write.fd = ends[1], write.addr = address_of("abc"), write.len = 3;
  HOLDS(ring.ask(write) == 3);
  auto& read = ring.next(IORING_OP_READ, 2);
  read.fd = ends[0], read.addr = address_of(text), read.len = 8;
  HOLDS(ring.ask(read) == 3 && std::strcmp(text, "abc") == 0);
  const int set = ::epoll_create1(0);
  epoll_event event = {};
  event.events = EPOLLIN;
  auto& add = ring.next(IORING_OP_EPOLL_CTL, 3);
  add.fd = set, add.off = static_cast<unsigned>(ends[0]), add.len = EPOLL_CTL_ADD,
  add.addr = address_of(&event);
  HOLDS(ring.ask(add) == 0);
  HOLDS(::write(ends[1], "d", 1) == 1 && ::epoll_wait(set, &event, 1, 1000) == 1);
  __kernel_timespec time = {0, 2'000'000};
  auto& timeout = ring.next(IORING_OP_TIMEOUT, 4);
  timeout.addr = address_of(&time), timeout.len = 1;
  HOLDS(ring.ask(timeout) == -ETIME);
  auto& forced = ring.next(IORING_OP_READ, 5);
  forced.fd = ends[0], forced.addr = address_of(text), forced.len = 1, forced.flags = IOSQE_ASYNC;
  HOLDS(ring.ask(forced) == 1 && text[0] == 'd');
  for (const int fd : {ends[0], ends[1], set}) ::close(fd);
  board().value[1] += 1;
}

TEST_F(Rings, IsUsedAsBefore) {
  const Subject subject(
      [] {
        HOLDS(ring.make(8));
        for (int i = 0; i < 5003; ++i) HOLDS(ring.ask(ring.next(IORING_OP_NOP, 0)) == 0);
      },
      use_of_all_kinds);
  for (std::uint64_t times = 1; times <= 3; ++times) {
    ASSERT_TRUE(poke(subject.pid(), 1, 1));
    ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 2) == times; }));
    ASSERT_TRUE(carry(subject));
  }
  EXPECT_NO_COMPLAINT(subject);
}

// Five of its completions are not read yet, always; the ring comes round again and again.
TEST_F(Rings, UnreadCompletionsStay) {
  const Subject subject(
      [] {
        HOLDS(ring.make(4, IORING_SETUP_CQSIZE, 16));
        for (std::uint64_t i = 0; i < 5; ++i) submit_nop(i);
        board().value[0] = 5;
      },
      [] {
        ring.next(IORING_OP_NOP, board().value[0]);
        HOLDS(ring.submit() == 1 && ring.unread() == 6);
        HOLDS(ring.take().user_data == board().value[0] - 5);
        board().value[0] += 1;
      });
  for (int times = 0; times < 4; ++times) ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// The ring of completions is full but for one, and what is not read lies across its end: nothing is
// overwritten, for the kernel knows how much is free.
TEST_F(Rings, WhatFindsNoRoomIsKeptBack) {
  const Subject subject(
      [] {
        HOLDS(ring.make(4));  // 8 completions
        for (int i = 0; i < 5; ++i) HOLDS(ring.ask(ring.next(IORING_OP_NOP, 0)) == 0);
        for (std::uint64_t i = 0; i < 7; ++i) submit_nop(i);
      },
      [] {
        if (board().value[0] == 0) return;
        board().value[0] = 0;
        for (std::uint64_t i = 7; i < 11; ++i) submit_nop(i);
        HOLDS(ring.unread() == 8);
        for (std::uint64_t i = 0; i < 8; ++i) HOLDS(ring.take().user_data == i);
        HOLDS(::syscall(SYS_io_uring_enter, ring.fd(), 0, 3, IORING_ENTER_GETEVENTS, nullptr, 0) >= 0);
        for (std::uint64_t i = 8; i < 11; ++i) HOLDS(ring.unread() > 0 && ring.take().user_data == i);
        board().value[1] = 1;
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(poke(subject.pid(), 1, 1));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == 1; }));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Rings, OfEveryShape) {
  for (const auto flags :
       {os::kRingNoSqArray, os::kRingSqe128 | os::kRingCqe32, os::kRingCoopTaskrun | os::kRingTaskrunFlag,
        os::kRingSubmitAll | os::kRingClamp, os::kRingNoSqArray | os::kRingCqSize | os::kRingSqe128}) {
    const Subject subject(
        [flags] {
          if (!ring.make(64, flags, 256)) board().value[2] = 1;
          for (int i = 0; board().value[2] == 0 && i < 100; ++i)
            HOLDS(ring.ask(ring.next(IORING_OP_NOP, 0)) == 0);
        },
        [] {
          if (board().value[2] == 0) HOLDS(ring.ask(ring.next(IORING_OP_NOP, 0)) == 0);
          use_of_all_kinds();
        });
    if (peek(subject.pid(), 3) != 0) continue;  // this kernel does not have it
    ASSERT_TRUE(carry(subject)) << flags;
    ASSERT_TRUE(carry(subject)) << flags;
    ASSERT_TRUE(poke(subject.pid(), 1, 1));
    EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == 1; }));
    EXPECT_NO_COMPLAINT(subject);
  }
}

// Requests without completions (IOSQE_CQE_SKIP_SUCCESS), an entry that is written and not submitted, a ring
// that is shared by a child and watched by an epoll set, beside a second one.
TEST_F(Rings, SharedWatchedAndWithoutCompletions) {
  const Subject subject(
      [] {
        HOLDS(ring.make(8) && other_ring.make(16));
        for (int i = 0; i < 70; ++i) {
          ring.next(IORING_OP_NOP, 0).flags = IOSQE_CQE_SKIP_SUCCESS;
          HOLDS(ring.submit() == 1 && ring.unread() == 0);
          HOLDS(other_ring.ask(other_ring.next(IORING_OP_NOP, 0)) == 0);
        }
        const int set = ::epoll_create1(0);
        epoll_event event = {};
        event.events = EPOLLIN;
        HOLDS(::epoll_ctl(set, EPOLL_CTL_ADD, ring.fd(), &event) == 0);
        board().value[3] = static_cast<std::uint64_t>(set);
        other_ring.next(IORING_OP_NOP, 77);  // submitted later
        if (::fork() == 0) {
          ::prctl(PR_SET_PDEATHSIG, SIGKILL);
          for (;;) ::pause();
        }
      },
      [] {
        if (board().value[0] == 0) return;
        board().value[0] = 0;
        ring.next(IORING_OP_NOP, 5);
        epoll_event event = {};
        const int set = static_cast<int>(board().value[3].load());
        HOLDS(::epoll_wait(set, &event, 1, 0) == 0);
        HOLDS(ring.submit() == 1 && ::epoll_wait(set, &event, 1, 1000) == 1 && ring.take().user_data == 5);
        HOLDS(other_ring.submit() == 1 && other_ring.take().user_data == 77);
        board().value[1] = 1;
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(poke(subject.pid(), 1, 1));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == 1; }));
  EXPECT_NO_COMPLAINT(subject);
}

// A wait for a completion that another thread will cause; threads of the kernel's for the ring, which have
// nothing to do.
TEST_F(Rings, IsWaitedFor) {
  const Subject subject(
      [] {
        HOLDS(ring.make(8));
        int ends[2];
        HOLDS(::pipe(ends) == 0 && ::write(ends[1], "x", 1) == 1);
        char byte = 0;
        auto& forced = ring.next(IORING_OP_READ, 1);  // by a worker
        forced.fd = ends[0], forced.addr = address_of(&byte), forced.len = 1, forced.flags = IOSQE_ASYNC;
        HOLDS(ring.ask(forced) == 1);
        std::thread([] {
          const auto result =
              ::syscall(SYS_io_uring_enter, ring.fd(), 0, 1, IORING_ENTER_GETEVENTS, nullptr, 0);
          HOLDS(result == 0);
          board().value[1] = ring.take().user_data;
        }).detach();
      },
      [] {
        if (board().value[0] == 0) return;
        board().value[0] = 0;
        ring.next(IORING_OP_NOP, 9);
        HOLDS(ring.submit() == 1);
      });
  EXPECT_TRUE(eventually(
      [&] { return os::list_directory("/proc/" + std::to_string(subject.pid()) + "/task")->size() >= 3; }));
  ASSERT_TRUE(carry(subject));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(peek(subject.pid(), 2), 0U);
  ASSERT_TRUE(poke(subject.pid(), 1, 1));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == 9; }));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Rings, InFlightIsRefused) {
  const auto submit = [](io_uring_sqe& /*last*/) { HOLDS(ring.submit() == 1 && ring.unread() == 0); };
  expect_refused("requests are in flight in it (1)", [&] {  // a poll
    auto& poll = ring.next(IORING_OP_POLL_ADD, 1);
    poll.fd = ::eventfd(0, 0), poll.poll32_events = POLLIN;
    submit(poll);
  });
  expect_refused("requests are in flight in it (1)", [&] {
    static __kernel_timespec time = {1000, 0};
    auto& timeout = ring.next(IORING_OP_TIMEOUT, 1);
    timeout.addr = address_of(&time), timeout.len = 1;
    submit(timeout);
  });
  for (const auto flags : {0U, 1U << IOSQE_ASYNC_BIT}) {  // it waits, or a worker does
    expect_refused("requests are in flight in it (1)", [&] {
      static char byte;
      int ends[2];
      HOLDS(::pipe(ends) == 0);
      auto& read = ring.next(IORING_OP_READ, 1);
      read.fd = ends[0], read.addr = address_of(&byte), read.len = 1,
      read.flags = static_cast<std::uint8_t>(flags);
      submit(read);
    });
  }
  expect_refused("requests are in flight in it (2)", [&] {  // one behind another one (IOSQE_IO_DRAIN)
    auto& poll = ring.next(IORING_OP_POLL_ADD, 1);
    poll.fd = ::eventfd(0, 0), poll.poll32_events = POLLIN;
    submit(poll);
    auto& last = ring.next(IORING_OP_NOP, 2);
    last.flags = IOSQE_IO_DRAIN;
    submit(last);
  });
  // Thousands have been made, and as many completions there are.
  expect_refused("requests are in flight in it (1)", [&] {
    for (int i = 0; i < 3000; ++i) HOLDS(ring.ask(ring.next(IORING_OP_NOP, 0)) == 0);
    auto& poll = ring.next(IORING_OP_POLL_ADD, 1);
    poll.fd = ::eventfd(0, 0), poll.poll32_events = POLLIN, poll.len = IORING_POLL_ADD_MULTI;
    submit(poll);
    const std::uint64_t one = 1;
    HOLDS(::write(poll.fd, &one, sizeof one) == sizeof one);
    ::poll(nullptr, 0, 1);
    while (ring.unread() > 0) ring.take();
  });
}

TEST_F(Rings, WhatItWasGivenIsRefused) {
  static char page[4096];
  expect_refused("1 buffers registered", [] {
    const iovec part = {page, sizeof page};
    HOLDS(call_register(ring.fd(), IORING_REGISTER_BUFFERS, &part, 1) == 0);
  });
  expect_refused("2 files registered", [] {
    const int files[] = {0, -1};
    HOLDS(call_register(ring.fd(), IORING_REGISTER_FILES, files, 2) == 0);
  });
  expect_refused("an eventfd registered", [] {
    const int event = ::eventfd(0, 0);
    HOLDS(call_register(ring.fd(), IORING_REGISTER_EVENTFD, &event, 1) == 0);
  });
  expect_refused("credentials registered",
                 [] { HOLDS(call_register(ring.fd(), IORING_REGISTER_PERSONALITY, nullptr, 0) > 0); });
  expect_refused("buffers provided", [] {
    auto& give = ring.next(IORING_OP_PROVIDE_BUFFERS, 1);
    give.fd = 1, give.addr = address_of(page), give.len = 64, give.buf_group = 3;
    HOLDS(ring.ask(give) >= 0);
  });
  expect_refused("limits for its workers", [] {
    const std::uint32_t most[] = {3, 0};
    HOLDS(call_register(ring.fd(), IORING_REGISTER_IOWQ_MAX_WORKERS, most, 2) == 0);
  });
  expect_refused("a number of their own", [] {
    io_uring_rsrc_update number = {};
    number.offset = ~0U;
    number.data = static_cast<unsigned>(ring.fd());
    HOLDS(call_register(ring.fd(), 20 /* IORING_REGISTER_RING_FDS */, &number, 1) == 1);
  });
}

TEST_F(Rings, OthersAreRefused) {
  const auto make = [](std::uint32_t flags) { return [flags] { HOLDS(other_ring.make(4, flags)); }; };
  expect_refused("IORING_SETUP_SQPOLL", make(IORING_SETUP_SQPOLL));
  expect_refused("IORING_SETUP_IOPOLL", make(IORING_SETUP_IOPOLL));
  expect_refused("IORING_SETUP_R_DISABLED", make(IORING_SETUP_R_DISABLED));
  expect_refused("IORING_SETUP_SINGLE_ISSUER", make(os::kRingSingleIssuer));
  expect_refused("restrictions", [] {
    HOLDS(other_ring.make(4, IORING_SETUP_R_DISABLED));
    io_uring_restriction allowed[2] = {};
    allowed[0].opcode = IORING_RESTRICTION_SQE_OP, allowed[0].sqe_op = IORING_OP_NOP;
    allowed[1].opcode = IORING_RESTRICTION_REGISTER_OP, allowed[1].register_op = IORING_REGISTER_ENABLE_RINGS;
    HOLDS(call_register(other_ring.fd(), IORING_REGISTER_RESTRICTIONS, allowed, 2) == 0);
    HOLDS(call_register(other_ring.fd(), IORING_REGISTER_ENABLE_RINGS, nullptr, 0) == 0);
  });
  expect_refused("no descriptor of the tree leads to its ring", [] { ::close(ring.fd()); });
  expect_refused("several completions of one request", [] {
    auto& poll = ring.next(IORING_OP_POLL_ADD, 1);
    const int event = ::eventfd(0, 0);
    poll.fd = event, poll.poll32_events = POLLIN, poll.len = IORING_POLL_ADD_MULTI;
    HOLDS(ring.submit() == 1);
    for (const std::uint64_t one = 1; ring.unread() < 2;) {
      HOLDS(::write(event, &one, sizeof one) == sizeof one);
      ::poll(nullptr, 0, 1);
    }
    ring.next(IORING_OP_ASYNC_CANCEL, 2).addr = 1;
    HOLDS(ring.submit(3) == 1);
    while (ring.unread() > 0) ring.take();
  });
}

// What is mapped where it never could be asked for: beside another one, high and low.
TEST_F(Rings, LieWhereTheyLay) {
  const Subject subject(
      [] {
        HOLDS(ring.make(2) && other_ring.make(256));
        ::munmap(::mmap(nullptr, 1U << 20U, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
        static Ring more[6];
        for (auto& one : more) HOLDS(one.make(4096));
      },
      [] { HOLDS(other_ring.ask(other_ring.next(IORING_OP_NOP, 0)) == 0); });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

}  // namespace
}  // namespace upkeep::engine
