#include "kexec/target.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "../../test_directory.h"
#include "boot_image_fixture.h"

namespace upkeep::kexec {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class TargetTest : public testing::Test {
 protected:
  void SetUp() override {
    test_.make("boot");
    test_.make("modules");
    roots_ = {test_ / "boot", test_ / "modules"};
  }

  void install(const std::string& release, bool image_with_modules = false) {
    const auto bytes = fake_image(release + " (builder) #1").bytes;
    test_.write(image_with_modules ? "modules/" + release + "/vmlinuz" : "boot/vmlinuz-" + release, bytes);
    test_.write("modules/" + release + "/modules.dep", "");
  }

  TestDirectory test_;
  TargetRoots roots_;
};

TEST_F(TargetTest, ReleaseShortNameAndPath) {
  for (const auto* release : {"6.1.192-cloud-amd64", "6.12.9-cloud-amd64", "6.12.117-cloud-amd64"})
    install(release);
  install("7.3.4-cloud-amd64", true);
  EXPECT_EQ(find_target("6.12", roots_)->release, "6.12.117-cloud-amd64");
  EXPECT_EQ(find_target("6.12.9-cloud-amd64", roots_)->release, "6.12.9-cloud-amd64");
  EXPECT_EQ(find_target("6.1", roots_)->release, "6.1.192-cloud-amd64");
  const auto newest = find_target("7.3", roots_);
  ASSERT_TRUE(newest) << newest.error().message();
  EXPECT_EQ(newest->image, roots_.modules + "/7.3.4-cloud-amd64/vmlinuz");
  EXPECT_EQ(newest->modules, roots_.modules + "/7.3.4-cloud-amd64");
  const auto by_path = find_target(roots_.boot + "/vmlinuz-6.12.9-cloud-amd64", roots_);
  ASSERT_TRUE(by_path) << by_path.error().message();
  EXPECT_EQ(by_path->release, "6.12.9-cloud-amd64");
  EXPECT_THAT(list_targets(roots_), ElementsAre("7.3.4-cloud-amd64", "6.12.117-cloud-amd64",
                                                "6.12.9-cloud-amd64", "6.1.192-cloud-amd64"));
}

TEST_F(TargetTest, UnknownNamesListWhatIsThere) {
  EXPECT_THAT(find_target("6.18", roots_).error().message(), HasSubstr("there are: none"));
  install("6.12.9-cloud-amd64");
  EXPECT_THAT(find_target("6.18", roots_).error().message(), HasSubstr("there are: 6.12.9-cloud-amd64"));
  EXPECT_FALSE(find_target("", roots_));
  EXPECT_TRUE(list_targets({"/does/not", "/exist"}).empty());
}

TEST_F(TargetTest, ModulesMustBeThere) {
  install("6.12.9-cloud-amd64");
  fs::remove(test_ / "modules/6.12.9-cloud-amd64/modules.dep");
  EXPECT_THAT(find_target("6.12", roots_).error().message(), HasSubstr("run 'depmod 6.12.9-cloud-amd64'"));
  fs::remove_all(test_ / "modules/6.12.9-cloud-amd64");
  EXPECT_THAT(find_target("6.12.9-cloud-amd64", roots_).error().message(), HasSubstr("has no modules"));
  EXPECT_THAT(find_target(roots_.boot + "/vmlinuz-6.12.9-cloud-amd64", roots_).error().message(),
              HasSubstr("has no modules"));
}

TEST_F(TargetTest, AnImageThatIsAnotherKernelIsRefused) {
  install("6.12.9-cloud-amd64");
  test_.write("boot/vmlinuz-6.12.9-cloud-amd64", fake_image("6.12.10-cloud-amd64 (builder)").bytes);
  EXPECT_THAT(find_target("6.12", roots_).error().message(), HasSubstr("but 6.12.10-cloud-amd64"));
}

TEST_F(TargetTest, HostileVersionsDoNotBecomePaths) {
  test_.write("boot/evil", fake_image("../../etc (builder)").bytes);
  EXPECT_THAT(find_target(roots_.boot + "/evil", roots_).error().message(), HasSubstr("no kernel release"));
  test_.write("boot/mute", fake_image("").bytes);
  EXPECT_THAT(find_target(roots_.boot + "/mute", roots_).error().message(), HasSubstr("does not say"));
  EXPECT_FALSE(find_target(roots_.boot + "/missing", roots_));
}

TEST_F(TargetTest, ConfigurationIsLookedAt) {
  install("6.12.9-cloud-amd64");
  auto findings = check_target(*find_target("6.12", roots_));
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].severity, Finding::Severity::warning);
  EXPECT_THAT(findings[0].what, HasSubstr("unknown"));

  test_.write("boot/config-6.12.9-cloud-amd64", "CONFIG_HZ=250\n");
  const auto target = find_target("6.12", roots_);
  EXPECT_EQ(config_number(*target->config, "CONFIG_HZ"), 250U);
  findings = check_target(*target);
  EXPECT_THAT(findings,
              testing::Contains(testing::Field(&Finding::what, HasSubstr("CONFIG_CHECKPOINT_RESTORE"))));
}

TEST_F(TargetTest, NotRelocatableIsRefused) {
  install("6.12.9-cloud-amd64");
  test_.write("boot/vmlinuz-6.12.9-cloud-amd64",
              fake_image("6.12.9-cloud-amd64 (b)").put<std::uint8_t>(0x234, 0).bytes);
  EXPECT_THAT(
      check_target(*find_target("6.12", roots_)),
      testing::Contains(testing::AllOf(testing::Field(&Finding::what, HasSubstr("not relocatable")),
                                       testing::Field(&Finding::severity, Finding::Severity::refusal))));
}

}  // namespace
}  // namespace upkeep::kexec
