#pragma once
// What the engine does, one function (and source) each; criu_engine.cc puts them behind the seam.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/criu/criu_engine.h"
#include "engine/criu/kernel_probe.h"
#include "engine/criu/session.h"

namespace upkeep::engine::criu {

Result<std::unique_ptr<StoodStill>> take_snapshot(const EngineOptions& options, const CarrySet& asked,
                                                  const SnapshotRequest& request, const SnapshotHooks& hooks);
Result<bool> copy_beforehand(const EngineOptions& options, const CarrySet& set, const std::string& images,
                             const EventSink& facts);
Result<Restored> restore_trees(const EngineOptions& options, KernelProbe& probe, const std::string& images,
                               const nlohmann::json& manifest, const RestoreHooks& hooks);
std::vector<Finding> check_set(const EngineOptions& options, const CarrySet& set,
                               const Destination& destination);

// A conversation about one tree, its folders open; each request of criu has a work folder of its own.
struct Job {
  os::UniqueFd images, work;
  std::string log;  // path
};
Result<Job> open_job(const EngineOptions& options, const std::string& images, const std::string& kind,
                     pid_t root);

// One criu asked one question (feature_check, version). It runs in a network namespace of its own: criu
// probes the kernel with a connection over loopback, and would wait for that for ever where the network is
// held closed.
Result<Session> begin_asking(const EngineOptions& options, const std::string& request);
Result<Response> answer_of(Session& session);
Result<Response> ask(const EngineOptions& options, const std::string& request);

// `criu check`: does this kernel have what criu needs?
Result<void> check_kernel(const EngineOptions& options);

std::string tree_folder(pid_t root);     // "tree-412": images of the tree, below the images' folder
std::string precopy_folder(pid_t root);  // "pre-412"
bool precopied(const std::string& images, pid_t root);

// "412 (redis-server)"
std::string title_of(const CarriedTree& tree);
bool uses_sysv_shared_memory(const CarriedTree& tree);
void emit_fact(const EventSink& sink, const std::string& message, nlohmann::json data);
double milliseconds_since(std::chrono::steady_clock::time_point begin);

}  // namespace upkeep::engine::criu
