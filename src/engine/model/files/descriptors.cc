#include "engine/model/files/descriptors.h"

namespace upkeep::engine {
namespace {

constexpr std::int32_t kHighestDescriptor = 1 << 30;  // sysctl_nr_open_max of fs/file.c is below

}  // namespace

Result<void> validate(const std::vector<Descriptor>& descriptors, const KnownObjects& known) {
  std::int64_t last = -1;
  for (const auto& descriptor : descriptors) {
    if (descriptor.fd > kHighestDescriptor) return Err("descriptor {} is too high", descriptor.fd);
    if (descriptor.fd <= last) return Err("descriptor {} is out of order", descriptor.fd);
    if (descriptor.file >= known.files) return Err("descriptor {} leads to no file", descriptor.fd);
    last = descriptor.fd;
  }
  return {};
}

}  // namespace upkeep::engine
