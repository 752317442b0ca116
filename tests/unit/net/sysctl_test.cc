#include "net/sysctl.h"

#include <gmock/gmock.h>

#include "../../test_directory.h"

namespace upkeep::net {
namespace {

class SysctlTest : public testing::Test {
 protected:
  void file(const std::string& path, const std::string& value, mode_t mode = 0644) {
    test_.write(path, value, mode);
  }
  TestDirectory test_;
  const std::string& root_ = test_.path();
};

std::vector<std::string> paths(const std::vector<Sysctl>& sysctls) {
  std::vector<std::string> list;
  for (const auto& sysctl : sysctls) list.push_back(sysctl.path);
  return list;
}

TEST_F(SysctlTest, ReadsWhatCanBeReadAndWritten) {
  file("ipv4/ip_forward", "1\n");
  file("ipv4/route/flush", "", 0200);
  file("ipv4/tcp_available", "reno\n", 0444);
  file("ipv4/neigh/eth0/retrans_time", "100\n");
  file("ipv4/neigh/eth0/retrans_time_ms", "1000\n");
  file("netfilter/nf_conntrack_max", "5\n");
  auto sysctls = read_sysctls(root_);
  ASSERT_TRUE(sysctls);
  EXPECT_THAT(*sysctls, testing::ElementsAre(Sysctl{"ipv4/ip_forward", "1"},
                                             Sysctl{"ipv4/neigh/eth0/retrans_time_ms", "1000"}));
  EXPECT_FALSE(read_sysctls(root_ + "/nothing"));
}

TEST(Sysctl, ThoseThatSetOthersComeFirst) {
  std::vector<Sysctl> sysctls = {{"ipv4/conf/eth0/forwarding", ""},
                                 {"ipv4/conf/default/rp_filter", ""},
                                 {"ipv4/conf/all/accept_redirects", ""},
                                 {"ipv6/conf/all/forwarding", ""},
                                 {"ipv4/conf/all/forwarding", ""},
                                 {"core/somaxconn", ""},
                                 {"ipv4/ip_forward", ""}};
  sort_for_writing(sysctls);
  EXPECT_THAT(paths(sysctls),
              testing::ElementsAre("ipv4/ip_forward", "core/somaxconn", "ipv4/conf/all/forwarding",
                                   "ipv6/conf/all/forwarding", "ipv4/conf/all/accept_redirects",
                                   "ipv4/conf/default/rp_filter", "ipv4/conf/eth0/forwarding"));
}

TEST(Sysctl, LinkOfAPath) {
  EXPECT_EQ(link_of_sysctl("ipv4/conf/eth0/rp_filter"), "eth0");
  EXPECT_EQ(link_of_sysctl("ipv6/neigh/eth0.5/gc_stale_time"), "eth0.5");
  EXPECT_EQ(link_of_sysctl("ipv6/conf/all/forwarding"), "");
  EXPECT_EQ(link_of_sysctl("ipv6/neigh/default/gc_thresh1"), "");
  EXPECT_EQ(link_of_sysctl("ipv4/ip_forward"), "");
  EXPECT_EQ(link_of_sysctl(""), "");
}

TEST(Sysctl, DefaultOfAPath) {
  EXPECT_EQ(default_of_sysctl("ipv4/conf/eth0.5/rp_filter"), "ipv4/conf/default/rp_filter");
  EXPECT_EQ(default_of_sysctl("ipv4/conf/all/rp_filter"), "");
  EXPECT_EQ(default_of_sysctl("ipv4/ip_forward"), "");
}

TEST_F(SysctlTest, WritesWhatDiffersOnly) {
  file("ipv4/a", "1\n");
  file("ipv4/b", "2\n");
  file("ipv4/c", "3\n");
  auto result = write_sysctls(
      {{"ipv4/a", "1"}, {"ipv4/b", "9"}, {"ipv4/c", "9"}, {"ipv4/gone", "1"}},
      [](const Sysctl& s) { return s.path != "ipv4/c"; }, root_);
  EXPECT_THAT(result.written, testing::ElementsAre("ipv4/b"));
  EXPECT_THAT(result.unknown, testing::ElementsAre("ipv4/gone"));
  EXPECT_THAT(result.refused, testing::IsEmpty());
  EXPECT_EQ(*os::read_file(root_ + "/ipv4/b"), "9\n");
  EXPECT_EQ(*os::read_file(root_ + "/ipv4/c"), "3\n");
}

}  // namespace
}  // namespace upkeep::net
