// System V semaphores and message queues. In an IPC namespace of the test's own; another boot is one where
// they are gone, and the manifest says that it was written on another one.

#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

// The same ones in the test and its subjects.
const key_t kSetKey = 0x10000000 + 2 * ::getpid(), kQueueKey = kSetKey + 1;
constexpr std::size_t kLong = 6000;

struct Message {
  long type;
  char text[kLong];
};

// Values 0 and 1: their IDs.
void make_objects() {
  board().value[0] = static_cast<std::uint64_t>(::semget(kSetKey, 3, IPC_CREAT | IPC_EXCL | 0640));
  board().value[1] = static_cast<std::uint64_t>(::msgget(kQueueKey, IPC_CREAT | IPC_EXCL | 0600));
  const int set = static_cast<int>(board().value[0]), queue = static_cast<int>(board().value[1]);
  sembuf up[] = {{0, 5, 0}, {2, 7, 0}};
  HOLDS(::semop(set, up, 2) == 0);
  semid_ds about = {};
  HOLDS(::semctl(set, 0, IPC_STAT, &about) == 0);
  about.sem_perm.uid = 1234;
  HOLDS(::semctl(set, 0, IPC_SET, &about) == 0);
  Message message = {7, "first"};
  HOLDS(::msgsnd(queue, &message, sizeof message.text, 0) == 0);
  message = {3, "second"};
  HOLDS(::msgsnd(queue, &message, 7, 0) == 0);
  message = {9, ""};
  HOLDS(::msgsnd(queue, &message, 0, 0) == 0);
}

// Once value 2 is set.
void use_objects() {
  if (board().value[2] != 1) return;
  const int set = static_cast<int>(board().value[0]), queue = static_cast<int>(board().value[1]);
  HOLDS(::semget(kSetKey, 3, 0) == set && ::msgget(kQueueKey, 0) == queue);
  HOLDS(::semctl(set, 0, GETVAL) == 5 && ::semctl(set, 1, GETVAL) == 0 && ::semctl(set, 2, GETVAL) == 7);
  semid_ds about = {};
  HOLDS(::semctl(set, 0, IPC_STAT, &about) == 0 && about.sem_perm.uid == 1234 && about.sem_perm.mode == 0640);
  Message message = {};
  HOLDS(::msgrcv(queue, &message, sizeof message.text, 3, IPC_NOWAIT) == 7 &&
        std::string(message.text) == "second");
  HOLDS(::msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT) == static_cast<ssize_t>(kLong) &&
        message.type == 7 && std::string(message.text) == "first");
  HOLDS(::msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT) == 0 && message.type == 9);
  HOLDS(::msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT) == -1);
  board().value[2] = 2;
}

class IpcObjects : public TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (IsSkipped()) return;
    if (!machine_carries()) {
      ASSERT_EQ(::unshare(CLONE_NEWIPC), 0);
    }
  }
  // Ended, and made again in another boot, which the manifest tells.
  ::testing::AssertionResult carry_to_another_boot(const Subject& subject) {
    if (machine_is_next()) return carry(subject);
    if (auto saved = save(subject); !saved) return saved;
    EXPECT_THAT(manifest().losses.at(0).why, HasSubstr("SEM_UNDO"));
    another_boot();
    auto restored = restore_trees(images(), false);
    return restored ? ::testing::AssertionSuccess()
                    : ::testing::AssertionFailure() << restored.error().message();
  }
  ::testing::AssertionResult save(const Subject& subject) {
    if (!moves(subject.pid())) return ::testing::AssertionFailure() << "it does not run";
    set_ = static_cast<int>(peek(subject.pid(), 1)), queue_ = static_cast<int>(peek(subject.pid(), 2));
    auto saved = save_trees({subject.pid()}, images(), false);
    if (!saved) return ::testing::AssertionFailure() << saved.error().message();
    (void)::waitpid(subject.pid(), nullptr, 0);
    return ::testing::AssertionSuccess();
  }
  Snapshot manifest() {
    auto snapshot = read_manifest(os::read_file(images() + "/manifest.json").value_or(""));
    EXPECT_TRUE(snapshot);
    return snapshot ? std::move(*snapshot) : Snapshot();
  }
  void another_boot() {
    remove();
    auto snapshot = manifest();
    snapshot.boot = "another";
    ASSERT_OK(os::replace_file(images() + "/manifest.json", write_manifest(snapshot), 0600));
  }
  void remove() const {
    ASSERT_EQ(::semctl(set_, 0, IPC_RMID), 0);
    ASSERT_EQ(::msgctl(queue_, IPC_RMID, nullptr), 0);
  }
  int set_ = -1, queue_ = -1;
};

TEST_F(IpcObjects, AreMadeAgain) {
  Subject subject(make_objects, use_objects);
  ASSERT_TRUE(carry_to_another_boot(subject));
  poke(subject.pid(), 3, 1);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 3) == 2; }));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(IpcObjects, ThoseThatAreStillThereAreLeftAlone) {
  Subject subject(make_objects);
  ASSERT_TRUE(save(subject));
  ASSERT_EQ(::semctl(set_, 1, SETVAL, 42), 0);
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_EQ(::semctl(set_, 1, GETVAL), 42);
  msqid_ds about = {};
  ASSERT_EQ(::msgctl(queue_, IPC_STAT, &about), 0);
  EXPECT_EQ(about.msg_qnum, 3U);
}

TEST_F(IpcObjects, OthersAreNotTouched) {
  const int others = ::semget(IPC_PRIVATE, 1, 0600);
  ASSERT_EQ(::semctl(others, 0, SETVAL, 1), 0);  // by us, who live
  Subject subject(make_objects);
  ASSERT_TRUE(save(subject));
  const auto snapshot = manifest();
  ASSERT_EQ(snapshot.semaphore_sets.size(), 1U);
  EXPECT_EQ(snapshot.semaphore_sets[0].permissions.id, set_);
  EXPECT_EQ(snapshot.semaphore_sets[0].permissions.key, kSetKey);
  EXPECT_EQ(snapshot.message_queues.size(), 1U);
}

TEST_F(IpcObjects, AnIdThatIsTakenIsNamedAndNothingIsLeft) {
  Subject subject(make_objects);
  ASSERT_TRUE(save(subject));
  another_boot();
  ASSERT_OK(os::write_value("/proc/sys/kernel/msg_next_id", std::to_string(queue_)));
  ASSERT_EQ(::msgget(IPC_PRIVATE, 0600), queue_);
  auto restored = restore_trees(images(), false);
  ASSERT_FALSE(restored);
  EXPECT_THAT(restored.error().message(),
              HasSubstr(fmt::format("message queue {}: the kernel gives it another ID", queue_)));
  EXPECT_EQ(::semget(kSetKey, 0, 0), -1) << "the set that was made before is left";
  ASSERT_EQ(::msgctl(queue_, IPC_RMID, nullptr), 0);
  ASSERT_OK(restore_trees(images(), false));
  EXPECT_TRUE(moves(subject.pid()));
}

}  // namespace
}  // namespace upkeep::engine
