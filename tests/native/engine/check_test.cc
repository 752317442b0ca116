// check() on real tasks: silent about what is carried, and by name about what is not.

#include <sys/eventfd.h>
#include <sys/socket.h>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

class Check : public EngineTest {
 protected:
  std::vector<Finding> refusals(pid_t pid, pid_t lowest = 1) {
    auto set = collect({pid});
    EXPECT_TRUE(set);
    std::vector<Finding> result;
    for (auto& finding : engine::check(*set, {lowest, ""})) {
      if (finding.severity == Finding::Severity::refusal) result.push_back(std::move(finding));
    }
    return result;
  }
};

TEST_F(Check, NothingAgainstASimpleTask) {
  Subject subject;
  auto found = refusals(subject.pid());
  EXPECT_TRUE(found.empty()) << found.front().what << ": " << found.front().why;
}

TEST_F(Check, LowPid) {
  Subject subject;
  auto found = refusals(subject.pid(), subject.pid() + 1);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NE(found.front().why.find("so low"), std::string::npos);
}

TEST_F(Check, PairInsideIsFine) {
  Subject subject([] {
    int pair[2];
    ::socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    ::eventfd(3, 0);
    (void)!::pipe(pair);
  });
  EXPECT_TRUE(refusals(subject.pid()).empty());
  EXPECT_TRUE(carry({&subject}));
}

}  // namespace
}  // namespace upkeep::engine
