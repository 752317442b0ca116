#include <gmock/gmock.h>

#include <filesystem>

#include "../../test_directory.h"
#include "kexec/load.h"

namespace upkeep::kexec {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::Not;

// A machine that may kexec; each test breaks one thing.
class KexecCheck : public testing::Test {
 protected:
  void SetUp() override {
    roots_ = {test_ / "proc", test_ / "sys"};
    write("proc/self/status", "Name:\tupkeep\nCapEff:\t000001ffffffffff\n");
    write("proc/sys/kernel/kexec_load_disabled", "0\n");
    write("proc/cpuinfo", "flags\t\t: fpu sev sev_es hypervisor\n");
    write("sys/kernel/kexec_loaded", "0\n");
    write("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
  }
  void write(std::string_view path, std::string_view content) const { test_.write(path, content); }
  std::vector<std::string> refusals() {
    std::vector<std::string> found;
    for (const auto& finding : check(roots_)) {
      EXPECT_FALSE(finding.why.empty());
      EXPECT_FALSE(finding.remedy.empty());
      // whether the build machine has kexec-tools is no matter here
      if (finding.severity == Finding::Severity::refusal &&
          finding.what.find("program kexec") == std::string::npos)
        found.push_back(finding.what);
    }
    return found;
  }

  TestDirectory test_;
  SystemRoots roots_;
};

TEST_F(KexecCheck, NothingInTheWay) { EXPECT_THAT(refusals(), ElementsAre()); }

TEST_F(KexecCheck, SwitchedOff) {
  write("proc/sys/kernel/kexec_load_disabled", "1\n");
  EXPECT_THAT(refusals(), ElementsAre(HasSubstr("kexec_load_disabled")));
}

TEST_F(KexecCheck, LockedDown) {
  write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
  EXPECT_THAT(refusals(), ElementsAre(HasSubstr("locked down (integrity)")));
}

TEST_F(KexecCheck, NoLockdownModule) {
  fs::remove(test_ / "sys/kernel/security/lockdown");
  EXPECT_THAT(refusals(), ElementsAre());
}

TEST_F(KexecCheck, NoPrivilege) {
  write("proc/self/status", "CapEff:\t0000000000000000\n");
  EXPECT_THAT(refusals(), ElementsAre(HasSubstr("no permission")));
  write("proc/self/status", "CapEff:\t0000000000400000\n");  // CAP_SYS_BOOT alone
  EXPECT_THAT(refusals(), ElementsAre());
}

TEST_F(KexecCheck, AnotherKernelIsLoaded) {
  write("sys/kernel/kexec_loaded", "1\n");
  EXPECT_THAT(check(roots_), Contains(AllOf(Field(&Finding::what, HasSubstr("loaded already")),
                                            Field(&Finding::remedy, HasSubstr("kexec -u")))));
}

TEST_F(KexecCheck, KernelWithoutKexec) {
  fs::remove(test_ / "sys/kernel/kexec_loaded");
  EXPECT_THAT(refusals(), ElementsAre(HasSubstr("has no kexec")));
}

TEST_F(KexecCheck, EncryptedGuests) {
  write("sys/class/misc/sev-guest/dev", "10:1\n");
  EXPECT_THAT(refusals(), ElementsAre("this is a SEV guest"));
  fs::remove_all(test_ / "sys/class");
  write("proc/cpuinfo", "flags\t\t: fpu tdx_guest\n");
  EXPECT_THAT(refusals(), ElementsAre("this is a TDX guest"));
}

TEST_F(KexecCheck, SecureBootWithoutLockdownIsAWarning) {
  write("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
        std::string_view("\6\0\0\0\1", 5));
  EXPECT_THAT(refusals(), ElementsAre());
  EXPECT_THAT(check(roots_), Contains(Field(&Finding::what, "Secure Boot is on")));
  write("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
        std::string_view("\6\0\0\0\0", 5));
  EXPECT_THAT(check(roots_), Not(Contains(Field(&Finding::what, "Secure Boot is on"))));
}

TEST(LoadCommand, StaysInTheWindow) {
  const auto argv = load_command(
      {"/boot/vmlinuz", "/run/i.cpio", "root=/dev/vda1 a=\"b c\"", Window{0x10000000, 0x40000000}});
  EXPECT_THAT(argv, Contains("--mem-min=0x10000000"));
  EXPECT_THAT(argv, Contains("--mem-max=0x3fffffff"));
  EXPECT_THAT(argv, Contains("--command-line=root=/dev/vda1 a=\"b c\""));
  EXPECT_THAT(argv, Contains("--no-checks"));
  EXPECT_EQ(argv.back(), "/boot/vmlinuz");
  for (const auto& arg : load_command({"k", "i", "c", std::nullopt}))
    EXPECT_THAT(arg, Not(HasSubstr("--mem-")));
}

TEST(Load, EmptyWindowIsAnError) {
  EXPECT_THAT(load({"k", "i", "c", Window{5, 5}}).error().message(), HasSubstr("no room"));
}

}  // namespace
}  // namespace upkeep::kexec
