#pragma once
// Files on tmpfs that carried tasks use: directories of /run, POSIX shared memory in /dev/shm, /tmp where that is
// a tmpfs; on the hugetlbfs in /dev/hugepages, whose pool has been made. They are memory, so they cross with
// it. Names of sockets are left out: the engine binds them anew.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/result.h"
#include "memory/carried_images.h"
#include "memory/store_writer.h"
#include "os/procfs.h"

namespace upkeep::machine {

// Directories on file systems that are memory (tmpfs, hugetlbfs) that carried tasks use: "/run/redis" rather than
// one socket of it; all of a small mount (/dev/shm, /dev/hugepages, /tmp) where a task uses any of it.
std::vector<std::string> temporary_directories(const std::vector<pid_t>& pids,
                                               const std::vector<os::MountInfo>& mounts);

// Everything below DIRECTORIES. Contents go into STORE as "tmpfs/0", "tmpfs/1", ...; owners, modes, links and
// times into the result, for the manifest.
Result<nlohmann::json> save_temporary_files(const std::vector<std::string>& directories,
                                            memory::StoreWriter& store);

// The other way. CONTENTS is a directory that has what the store has below "tmpfs". What exists already keeps
// its content and gets owner and mode.
Result<void> put_back_temporary_files(const nlohmann::json& files, const std::string& contents);

}  // namespace upkeep::machine
