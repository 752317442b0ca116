#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "state_directory.h"

namespace upkeep::cli {

namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Ran {
  int code;
  std::string out, err;
};

Ran run(const std::vector<const char*>& arguments) {
  std::vector<const char*> argv = {"upkeep"};
  for (const char* argument : arguments) argv.push_back(argument);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  int code = run_commands(static_cast<int>(argv.size()), argv.data(), kCommands);
  std::string out = testing::internal::GetCapturedStdout();
  return {code, out, testing::internal::GetCapturedStderr()};
}

TEST(Status, WithoutAnyUpgradeIsWell) {
  StateDirectory state;
  auto ran = run({"status", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_THAT(ran.out, HasSubstr("No upgrade has been run"));
  ran = run({"status", "--wait", "--json", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kOk);
  auto json = nlohmann::json::parse(ran.out);
  EXPECT_EQ(json["running"], false);
  EXPECT_TRUE(json["upgrade"].is_null());
}

TEST(Status, ExitCodeSaysHowTheLastOneEnded) {
  StateDirectory state;
  state.append("a", begun("a", 1) + ended("undone"));
  auto ran = run({"status", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kFailed);
  EXPECT_THAT(ran.out, HasSubstr("still runs 6.12.1"));
  EXPECT_THAT(ran.out, HasSubstr("why not"));
  state.append("b", begun("b", 2) + ended("upgraded"));
  ran = run({"status", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_THAT(ran.out, HasSubstr("now runs 7.3.4"));
}

TEST(Status, WaitReturnsAtOnceWhereNobodyWorks) {
  StateDirectory state;
  state.append("a", begun("a", 1));
  auto ran = run({"status", "--wait", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kFailed);
  EXPECT_THAT(ran.out, HasSubstr("interrupted"));
}

TEST(History, ListsAll) {
  StateDirectory state;
  state.append("first", begun("first", 1) + ended("undone"));
  state.append("second", begun("second", 2) + ended("upgraded"));
  auto ran = run({"history", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_LT(ran.out.find("first"), ran.out.find("second"));
  ran = run({"history", "--json", "--state-dir", state.path().c_str()});
  auto json = nlohmann::json::parse(ran.out);
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[0]["outcome"], "undone");
  EXPECT_EQ(json[1]["id"], "second");
}

TEST(History, OfNothingIsAnEmptyList) {
  StateDirectory state;
  EXPECT_EQ(run({"history", "--json", "--state-dir", state.path().c_str()}).out, "[]\n");
}

TEST(Report, WritesAPage) {
  StateDirectory state;
  state.append("a", begun("a", 1) + ended("upgraded"));
  const std::string file = state.path() + "/page.html";
  auto ran = run({"report", "-o", file.c_str(), "--json", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(nlohmann::json::parse(ran.out)["bytes"], std::filesystem::file_size(file));
  ran = run({"report", "a", "-o", "-", "--state-dir", state.path().c_str()});
  EXPECT_THAT(ran.out, StartsWith("<!DOCTYPE html>"));
}

TEST(Report, SaysWhatIsMissing) {
  StateDirectory state;
  auto ran = run({"report", "-o", "-", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kFailed);
  EXPECT_THAT(ran.err, HasSubstr("no upgrade has been run on this machine yet"));
  state.append("a", begun("a", 1));
  ran = run({"report", "-o", "/nonexistent/page.html", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kFailed);
  EXPECT_THAT(ran.err, HasSubstr("/nonexistent/page.html"));
}

TEST(Restore, OfAnUpgradeThatNeverWasMakesNone) {
  StateDirectory state;
  state.append("a", begun("a", 1) + ended("restore_failed"));
  for (const char* id : {"b", "../b"}) {
    for (const char* how : {"--json", "--discard"}) {
      auto ran = run({"restore", id, how, "--state-dir", state.path().c_str()});
      EXPECT_EQ(ran.code, kFailed);
      EXPECT_THAT(ran.out + ran.err, HasSubstr("there is no upgrade"));
    }
  }
  EXPECT_FALSE(std::filesystem::exists(state.path() + "/b"));
  EXPECT_FALSE(std::filesystem::exists(state.path() + "/../b"));
}

TEST(Restore, DiscardDeletesTheImagesAndNothingElse) {
  StateDirectory state;
  state.append("2026a", begun("2026a", 1) + ended("restore_failed"));
  std::ofstream(state.path() + "/2026a/images.store") << "images";
  auto ran = run({"restore", "2026", "--discard", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("images of 2026a are deleted"));
  EXPECT_FALSE(std::filesystem::exists(state.path() + "/2026a/images.store"));
  EXPECT_TRUE(std::filesystem::exists(state.path() + "/2026a/journal.jsonl"));
  ran = run({"restore", "2026a", "--discard", "--state-dir", state.path().c_str()});
  EXPECT_EQ(ran.code, kFailed);
  EXPECT_THAT(ran.err, HasSubstr("left no images"));
}

TEST(CommandLine, WrongUseIsTwo) {
  EXPECT_EQ(run({}).code, kUsage);
  EXPECT_EQ(run({"fly"}).code, kUsage);
  auto ran = run({"report"});
  EXPECT_EQ(ran.code, kUsage);
  EXPECT_THAT(ran.err, HasSubstr("--output"));
  EXPECT_THAT(ran.err, HasSubstr("upkeep report --help"));
  ran = run({"status", "--json", "--nonsense"});
  EXPECT_EQ(ran.code, kUsage);
  EXPECT_TRUE(nlohmann::json::parse(ran.out).contains("error"));
}

TEST(CommandLine, HelpHasExamples) {
  auto ran = run({"report", "--help"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_THAT(ran.out, HasSubstr("Examples:"));
  EXPECT_EQ(run({"--version"}).out, std::string("upkeep ") + UPKEEP_VERSION + "\n");
}

}  // namespace
}  // namespace upkeep::cli
