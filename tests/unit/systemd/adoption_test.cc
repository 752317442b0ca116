#include "systemd/adoption.h"

#include <gmock/gmock.h>

#include "../../test_directory.h"
#include "systemd/settle_unit.h"

namespace upkeep::systemd {
namespace {

using testing::HasSubstr;

TEST(Adoption, DropInFindsTheMainProcess) {
  const TestDirectory run;
  ASSERT_TRUE(prepare_adoption({"nginx.service", 812}, run.path()));
  const auto text = run.read("systemd/system/nginx.service.d/zz-upkeep-adopt.conf");
  EXPECT_THAT(text, HasSubstr("Type=forking\n"));
  EXPECT_THAT(text, HasSubstr("PIDFile=" + run.path() + "/upkeep/adopt/nginx.service.pid\n"));
  EXPECT_EQ(run.read("upkeep/adopt/nginx.service.pid"), "812\n");
}

TEST(SettleUnit, RunsOnceTheMachineIsUp) {
  const TestDirectory run;
  ASSERT_TRUE(enable_settle_unit("/run/upkeep/settle.json", run.path()));
  ASSERT_TRUE(enable_settle_unit("/run/upkeep/settle.json", run.path())) << "a second time";
  const auto text = run.read("systemd/system/multi-user.target.wants/upkeep-settle.service");
  EXPECT_THAT(text, HasSubstr("\nConditionPathExists=/run/upkeep/settle.json\n[Service]\n"));
  EXPECT_THAT(text, HasSubstr("ExecStart=/usr/sbin/upkeep settle\n"));
}

}  // namespace
}  // namespace upkeep::systemd
