#include "net/links.h"

#include <gmock/gmock.h>
#include <linux/if.h>

namespace upkeep::net {
namespace {

using testing::ElementsAre;
using testing::Pair;

Link link(const std::string& name, int index, const std::string& permanent = "",
          const std::string& bus = "") {
  Link made;
  made.name = name;
  made.index = index;
  made.hardware = 1;
  made.permanent_address = permanent;
  made.bus = bus;
  return made;
}

Link virtual_link(const std::string& name, int index, const std::string& kind, int lower = 0) {
  Link made = link(name, index);
  made.kind = kind;
  made.lower = lower;
  return made;
}

TEST(Links, PhysicalOnesAreKnownByTheirPermanentAddress) {
  auto pairing = pair_links({link("ens3", 2, "aa:01"), link("ens4", 3, "aa:02")},
                            {link("eth0", 2, "aa:02"), link("eth1", 3, "aa:01")});
  EXPECT_THAT(pairing.now, ElementsAre(Pair(2, 3), Pair(3, 2)));
  EXPECT_THAT(pairing.doubts, testing::IsEmpty());
}

TEST(Links, OtherwiseByTheirPlaceOnTheBus) {
  auto pairing = pair_links({link("a", 2, "", "0000:00:03.0"), link("b", 3, "", "0000:00:04.0")},
                            {link("b", 2, "", "0000:00:03.0"), link("a", 3, "", "0000:00:04.0")});
  EXPECT_THAT(pairing.now, ElementsAre(Pair(2, 2), Pair(3, 3)));
}

TEST(Links, AnotherPermanentAddressIsAnotherLink) {
  auto pairing =
      pair_links({link("eth0", 2, "aa:01", "0000:00:03.0")}, {link("eth0", 2, "aa:02", "0000:00:03.0")});
  EXPECT_THAT(pairing.now, testing::IsEmpty());
}

TEST(Links, ByNameOnlyIsDoubtful) {
  auto pairing = pair_links({link("eth0", 2)}, {link("eth0", 5)});
  EXPECT_THAT(pairing.now, ElementsAre(Pair(2, 5)));
  EXPECT_THAT(pairing.doubts, ElementsAre(testing::HasSubstr("eth0")));
}

TEST(Links, VirtualOnesAreKnownByNameAndKind) {
  auto pairing = pair_links({virtual_link("br0", 3, "bridge"), virtual_link("x", 4, "dummy")},
                            {virtual_link("br0", 9, "bridge"), virtual_link("x", 4, "vlan"), link("y", 5)});
  EXPECT_THAT(pairing.now, ElementsAre(Pair(3, 9)));
}

TEST(Links, VlansComeAfterWhatTheyStandOn) {
  const std::vector<Link> links = {virtual_link("v.1.2", 1, "vlan", 2), virtual_link("v.1", 2, "vlan", 3),
                                   link("v", 3)};
  std::vector<std::string> names;
  for (const Link* each : lower_first(links)) names.push_back(each->name);
  EXPECT_THAT(names, ElementsAre("v", "v.1", "v.1.2"));
}

TEST(Links, ACircleEnds) {
  const std::vector<Link> links = {virtual_link("a", 1, "vlan", 2), virtual_link("b", 2, "vlan", 1)};
  EXPECT_THAT(lower_first(links), testing::IsEmpty());
}

TEST(Links, UnusedFallbackDevicesAreNobodys) {
  Link sit = virtual_link("sit0", 5, "sit");
  EXPECT_TRUE(made_by_module(sit));
  sit.flags = IFF_UP;
  EXPECT_FALSE(made_by_module(sit));
  EXPECT_FALSE(kind_supported("wireguard"));
  EXPECT_TRUE(kind_supported("bridge"));
}

}  // namespace
}  // namespace upkeep::net
