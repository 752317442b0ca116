// Locks whose owners the kernel knows: by its own books (priority inheritance), or by a list that a thread
// has told it (robust). futex(2), get_robust_list(2).

#include <linux/futex.h>
#include <pthread.h>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using Futexes = TreeTest;

// Shared by a subject and its children.
struct Shared {
  pthread_mutex_t held, other;
  std::atomic<int> told;  // from outside, as word 1 of the board: let go, or end
  std::atomic<std::uint64_t> got;
};
Shared* const shared = reinterpret_cast<Shared*>(0x310000000000);

void make_shared(int protocol, int robust) {
  (void)::mmap(shared, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_mutexattr_setprotocol(&attributes, protocol);
  ::pthread_mutexattr_setrobust(&attributes, robust);
  for (auto* mutex : {&shared->held, &shared->other}) ::pthread_mutex_init(mutex, &attributes);
}

// A child that holds the lock until it is told to go on; then lets go of it, or ends with it.
void hold_in_a_child(bool lets_go) {
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  board().value[1] = static_cast<std::uint64_t>(child);
  if (child == 0) {
    HOLDS(::pthread_mutex_lock(&shared->held) == 0);
    shared->got = 1;
    while (shared->told == 0) {
      if (::getppid() != parent) ::_exit(0);
      rest();
    }
    if (!lets_go) ::_exit(0);
    HOLDS(::pthread_mutex_unlock(&shared->held) == 0);
    for (;;) {
      if (::getppid() != parent) ::_exit(0);
      board().counter.fetch_add(1);
      rest();
    }
  }
  while (shared->got == 0) rest();
}

// In a thread: value 2 becomes what the lock said, and value 3 when it has been let go again.
void wait_in_a_thread(int (*lock)(pthread_mutex_t*)) {
  std::thread([lock] {
    board().value[4] = 1;
    const int said = lock(&shared->held);
    HOLDS(shared->told != 0);  // not before
    if (said == EOWNERDEAD) HOLDS(::pthread_mutex_consistent(&shared->held) == 0);
    board().value[2] = static_cast<std::uint64_t>(said) + 1;
    HOLDS(::pthread_mutex_unlock(&shared->held) == 0);
    board().value[3] = 1;
    for (;;) ::pause();
  }).detach();
}

int lock_with_a_limit(pthread_mutex_t* mutex) {
  timespec end = {};
  ::clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += 3600;
  return ::pthread_mutex_timedlock(mutex, &end);
}

// From outside, through the board: the subject passes it on.
void pass_on() {
  if (board().value[0] != 0) shared->told = 1;
}

void let_it_stand(const Subject& subject) {
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 5) == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // into the call
}

bool says(const Subject& subject, int error) {
  return eventually([&] { return peek(subject.pid(), 3) == static_cast<std::uint64_t>(error) + 1; });
}

TEST_F(Futexes, PriorityInheritance) {
  for (const bool limited : {false, true}) {
    Subject subject(
        [limited] {
          make_shared(PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
          hold_in_a_child(true);
          wait_in_a_thread(limited ? lock_with_a_limit : ::pthread_mutex_lock);
        },
        pass_on);
    let_it_stand(subject);
    const auto owner = static_cast<pid_t>(peek(subject.pid(), 2));
    if (limited && machine_carries()) continue;  // one in each test
    ASSERT_TRUE(carry(subject));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(peek(subject.pid(), 3), 0U) << "it has got a lock that is held";
    ASSERT_TRUE(poke(subject.pid(), 1, 1));
    EXPECT_TRUE(says(subject, 0));
    EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 4) == 1; }));
    EXPECT_TRUE(moves(owner));
    EXPECT_NO_COMPLAINT(subject);
    ::kill(owner, SIGKILL);
  }
}

// Nobody waits for it while it is carried: only its memory says whose it is.
TEST_F(Futexes, PriorityInheritanceHeldOnly) {
  Subject subject(
      [] {
        make_shared(PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
        ::pthread_mutex_lock(&shared->held);
        std::thread([] {  // who is not its owner
          while (board().value[1] == 0) {
            HOLDS(::pthread_mutex_trylock(&shared->held) == EBUSY);
            rest();
          }
          HOLDS(::pthread_mutex_lock(&shared->held) == 0);
          board().value[2] = 1;
          for (;;) ::pause();
        })
            .detach();
      },
      [] {
        if (board().value[0] == 0 || board().value[1] != 0) return;
        board().value[1] = 1;
        ::poll(nullptr, 0, 20);
        HOLDS(board().value[2] == 0 && ::pthread_mutex_unlock(&shared->held) == 0);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_EQ(peek(subject.pid(), 3), 0U);
  ASSERT_TRUE(poke(subject.pid(), 1, 1));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 3) == 1; }));
  EXPECT_NO_COMPLAINT(subject);
}

// Its owner ends after it was carried: the kernel walks its list, and the one that waits is told.
TEST_F(Futexes, RobustWhoseOwnerEnds) {
  for (const int protocol : {PTHREAD_PRIO_NONE, PTHREAD_PRIO_INHERIT}) {
    Subject subject(
        [protocol] {
          make_shared(protocol, PTHREAD_MUTEX_ROBUST);
          hold_in_a_child(false);
          wait_in_a_thread(::pthread_mutex_lock);
        },
        pass_on);
    let_it_stand(subject);
    if (protocol == PTHREAD_PRIO_INHERIT && machine_carries()) continue;
    ASSERT_TRUE(carry(subject));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(peek(subject.pid(), 3), 0U) << "it has got a lock that is held";
    ASSERT_TRUE(poke(subject.pid(), 1, 1));
    EXPECT_TRUE(says(subject, EOWNERDEAD)) << peek(subject.pid(), 3);
    EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 4) == 1; }));
    EXPECT_NO_COMPLAINT(subject);
  }
}

// What the kernel clears when a thread ends (set_tid_address(2)), and who waits for that.
TEST_F(Futexes, AThreadThatIsWaitedForToEnd) {
  Subject subject([] {
    static std::atomic<int> in_thread = 0;
    static pthread_t ends;
    ::pthread_create(
        &ends, nullptr,
        [](void*) -> void* {
          in_thread = 1;
          while (board().value[0] == 0) ::poll(nullptr, 0, 1);
          return reinterpret_cast<void*>(77);
        },
        nullptr);
    std::thread([] {
      void* result = nullptr;
      board().value[4] = 1;
      HOLDS(::pthread_join(ends, &result) == 0 && board().value[0] != 0);
      board().value[2] = reinterpret_cast<std::uintptr_t>(result);
      for (;;) ::pause();
    }).detach();
    while (in_thread == 0) rest();
  });
  let_it_stand(subject);
  ASSERT_TRUE(carry(subject));
  EXPECT_EQ(peek(subject.pid(), 3), 0U);
  ASSERT_TRUE(poke(subject.pid(), 1, 1));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 3) == 77; }));
  EXPECT_NO_COMPLAINT(subject);
}

}  // namespace
}  // namespace upkeep::engine
