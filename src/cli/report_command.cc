#include <memory>

#include "cli/command.h"
#include "cli/journals.h"
#include "os/file.h"
#include "report/html.h"

namespace upkeep::cli {
namespace {

struct ReportArguments {
  std::string id;
  std::string output;
};

int run_report(const Context& context, const ReportArguments& arguments) {
  auto summary = read_upgrade(context.state_dir, arguments.id);
  if (!summary) return fail(context, summary.error());
  const std::string page = report::html_page(*summary);
  if (arguments.output == "-") {
    print(page);
    return kOk;
  }
  // Readable by everybody, unlike the journal: the page is there to be shown.
  auto written = os::replace_file(arguments.output, page, 0644);
  if (!written) return fail(context, std::move(written).error().in("report"));
  if (context.json) {
    print_json({{"id", summary->id}, {"file", arguments.output}, {"bytes", page.size()}});
  } else if (!context.quiet) {
    print(fmt::format("Upgrade {}: {}\n", summary->id, arguments.output));
  }
  return kOk;
}

}  // namespace

void add_report(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<ReportArguments>();
  auto* command = add_subcommand(app, context, "report", "draw an upgrade as an HTML page",
                                 "  upkeep report -o upgrade.html\n"
                                 "  upkeep report 20261123T151002Z -o - | ssh desk 'cat > upgrade.html'\n");
  command->add_option("id", arguments->id,
                      "the upgrade; its first characters are enough, the newest is the default");
  command->add_option("-o,--output", arguments->output, "the file to write; - is standard output")
      ->required();
  command->callback([&context, arguments] {
    context.run = [&context, arguments] { return run_report(context, *arguments); };
  });
}

}  // namespace upkeep::cli
