#include <cstdlib>
#include <nlohmann/json.hpp>

#include "common/fields.h"
#include "engine/rebuild/calls/call_arena.h"
#include "engine/rebuild/complete.h"
#include "engine/rebuild/files/descriptors.h"
#include "engine/rebuild/memory/address_space.h"
#include "engine/rebuild/task/births.h"
#include "engine/rebuild/task/job_stops.h"
#include "engine/rebuild/task/own_state.h"
#include "engine/rebuild/task/process_groups.h"
#include "engine/rebuild/task/seccomp.h"
#include "engine/rebuild/task/stand_ins.h"
#include "engine/rebuild/task/threads.h"
#include "engine/tree/births.h"
#include "target.h"

namespace upkeep::fuzz {
namespace {

using namespace engine;

constexpr std::uint64_t kArenaSize = 256ULL << 20U;

// Printed and laid out as the arena would do it.
void use(const Program& program) {
  const auto placed = program.placed(0x10000);
  if (placed.size() != program.size()) std::abort();
  for (std::size_t i = 0; i < std::min<std::size_t>(program.calls().size(), 64); ++i)
    (void)program.describe(i);
}

void compile_living(const Snapshot& snapshot, const Process& process, const MemorySources& sources,
                    bool timer_ids) {
  use(compile_memory(process, sources));
  use(compile_threads(process));
  use(compile_wait_for_stop(process, process));
  use(compile_descriptors(process, std::vector<int>(snapshot.files.size(), 3), 2));
  for (const auto& thread : process.threads)
    use(compile_own_state(
        snapshot, process, thread,
        {timer_ids, process.namespaces.has_value(), nullptr, count_common_filters(process)}));
}

Reached compile(const Snapshot& snapshot) {
  constexpr bool kTimerIds = false;  // the more laborious way
  if (!check_complete(snapshot, kTimerIds)) return Reached::understood;
  const auto births = plan_births(snapshot);
  const auto place = find_arena_place(snapshot, kArenaSize);
  if (!births || !place) return Reached::understood;
  use(compile_roots(*births, "monotonic 0 0\n", snapshot));
  for (const auto& step : births->steps) {
    if (const auto* birth = std::get_if<Birth>(&step))
      use(compile_birth(*birth, {2, {{1, 3}}}));
    else
      use(compile_stand_in(std::get<StandIn>(step)));
  }
  for (const auto& process : snapshot.processes) {
    use(compile_group(process));
    use(compile_terminal(process, snapshot, {2, {{1, 3}}}));
  }
  MemorySources sources;
  sources.keep_start = *place, sources.keep_end = *place + kArenaSize;
  sources.pages = 3, sources.restorer = 2;
  for (const auto& kept : snapshot.kept_files) {
    for (const bool writable : {false, true}) sources.kept[{kept.device, kept.inode, writable}] = 3;
  }
  for (const auto& process : snapshot.processes) {
    for (const auto& mapping : process.memory.mappings) {  // as add_rings_for_mappings() does
      if (mapping.kind == MappingKind::io_uring)
        sources.kept[{mapping.device, mapping.inode, mapping.needs_writable_file()}] = 3;
    }
    if (process.exit_status)
      use(compile_end(process));
    else
      compile_living(snapshot, process, sources, kTimerIds);
  }
  return Reached::compiled;
}

}  // namespace

Reached read_document(std::string_view text) {
  const auto snapshot = read_manifest(std::string(text));
  if (snapshot) return compile(*snapshot);
  if (snapshot.error().message().empty()) std::abort();
  return Reached::refused;
}

Reached read_content(const nlohmann::json& content) {
  const auto snapshot = decode<Snapshot>(content.dump());
  if (!snapshot) {
    if (snapshot.error().message().empty()) std::abort();
    return Reached::refused;
  }
  if (!validate(*snapshot)) return Reached::refused;
  // What was understood is the same when it is written and read again.
  const auto again = read_manifest(write_manifest(*snapshot));
  if (!again || !(*again == *snapshot)) std::abort();
  return compile(*snapshot);
}

}  // namespace upkeep::fuzz

// The entry that libFuzzer calls, for whoever links it (clang++ -fsanitize=fuzzer): documents only.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)upkeep::fuzz::read_document({reinterpret_cast<const char*>(data), size});
  return 0;
}
