#include "systemd/units.h"

#include <gmock/gmock.h>

namespace upkeep::systemd {
namespace {

using testing::ElementsAre;

TEST(Units, ListOfSystemctl) {
  auto units = parse_unit_list(
      "cron.service loaded active running Regular background\n  ssh.service loaded active running x\n\n");
  ASSERT_TRUE(units) << units.error().message();
  EXPECT_THAT(*units, ElementsAre("cron.service", "ssh.service"));
  EXPECT_FALSE(parse_unit_list("Failed to connect to bus\n"));
}

TEST(Units, TransientOnesAreNotStartedAgain) {
  EXPECT_THAT(lasting_units("Id=cron.service\nFragmentPath=/usr/lib/systemd/system/cron.service\n\n"
                            "FragmentPath=/run/systemd/transient/run-p1-i2.service\nId=run-p1-i2.service\n\n"
                            "Id=gone.service\nFragmentPath=\n\nId=nginx.service\nFragmentPath=/usr/lib/"
                            "systemd/system/nginx.service\n"),
              ElementsAre("cron.service", "nginx.service"));
  EXPECT_TRUE(lasting_units("").empty());
}

TEST(Units, CarriedOnesAndTheMachinesOwnAreNotStopped) {
  const std::vector<std::string> running = {"cron.service",
                                            "dbus.service",
                                            "getty@tty1.service",
                                            "nginx.service",
                                            "postgresql@17-main.service",
                                            "ssh.service",
                                            "sshd.service",
                                            "systemd-journald.service",
                                            "user@0.service",
                                            "upkeep-1.service"};
  EXPECT_THAT(to_stop(running, {"nginx.service"}), ElementsAre("cron.service", "postgresql@17-main.service"));
}

}  // namespace
}  // namespace upkeep::systemd
