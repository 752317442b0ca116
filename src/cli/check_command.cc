// upkeep check [--to KERNEL] [--carry PID...] [--carry-unit NAME...]: can this machine do it?

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/carry_options.h"
#include "cli/command.h"
#include "jump/old/check.h"
#include "report/text.h"

namespace upkeep::cli {
namespace {

const char* word(Finding::Severity severity) {
  switch (severity) {
    case Finding::Severity::ok:
      return "ok";
    case Finding::Severity::warning:
      return "warning";
    case Finding::Severity::refusal:
      return "refused";
  }
  return "";
}

nlohmann::json report_json(const jump::CheckReport& report) {
  nlohmann::json findings = nlohmann::json::array();
  for (const auto& finding : report.findings) {
    findings.push_back({{"severity", word(finding.severity)},
                        {"what", finding.what},
                        {"why", finding.why},
                        {"remedy", finding.remedy}});
  }
  return {{"possible", report.possible()}, {"findings", findings}};
}

void print_findings(const jump::CheckReport& report) {
  std::string text;
  for (const auto& finding : report.findings) {
    text += fmt::format("{:8} {}", word(finding.severity), finding.what);
    if (!finding.why.empty()) text += ": " + finding.why;
    text += '\n';
    if (!finding.remedy.empty()) text += fmt::format("{:8} -> {}\n", "", finding.remedy);
  }
  text += report.possible() ? "This machine can do it.\n" : "This machine cannot do it as things are.\n";
  print(text);
}

}  // namespace

void add_check(CLI::App& app, Context& context) {
  auto request = std::make_shared<jump::CheckRequest>();
  auto carry = std::make_shared<CarryOptions>();
  auto* command = add_subcommand(app, context, "check", "can this machine do it? Looks, and touches nothing",
                                 "  upkeep check\n  upkeep check --to 7.3 --carry-unit redis-server\n");
  command->add_option("--to", request->kernel,
                      "the kernel to go to: a release, a series such as 6.12, or a path");
  command->add_option("--carry", carry->pids, "processes to carry, each with its whole tree")
      ->check(CLI::PositiveNumber);
  add_carry_unit(*command, *carry);
  command->callback([&context, request, carry] {
    context.run = [&context, request, carry] {
      auto roots = carry->roots();
      if (!roots) return fail(context, roots.error());
      request->carry = std::move(*roots);
      const auto report = jump::check_machine(*request);
      if (context.json)
        print_json(report_json(report));
      else
        print_findings(report);
      return report.possible() ? kOk : kFailed;
    };
  });
}

}  // namespace upkeep::cli
