#include "engine/inspect/sockets/write_only_options.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "engine/inspect/calls/look.h"
#include "engine/inspect/sockets/socket_questions.h"
#include "os/file.h"
#include "os/kernel_memory.h"

namespace upkeep::engine {
namespace {

constexpr std::uint16_t kBusyPollBudget = 8;  // BUSY_POLL_BUDGET of the kernel

struct InKernel {
  const os::KernelMemory& memory;
  std::uint64_t sock;

  static Result<InKernel> find(os::Fd socket) {
    const auto& memory = os::KernelMemory::own();
    if (!memory) return tl::unexpected(memory.error());
    TRY_ASSIGN(const auto outer, memory->behind(socket));
    TRY_ASSIGN(const auto sock, memory->number(outer, "socket", "sk"));
    return InKernel{*memory, sock};
  }
  Result<std::uint64_t> number(const char* structure, const char* path) const {
    return memory.number(sock, structure, path);
  }
};

bool shares_its_port(os::Fd socket) { return number_option(socket, SOL_SOCKET, SO_REUSEPORT) > 0; }

bool polls(os::Fd socket) {
  return number_option(socket, SOL_SOCKET, SO_BUSY_POLL) > 0 ||
         number_option(socket, SOL_SOCKET, SO_PREFER_BUSY_POLL) > 0;
}

bool has_anycast_groups() { return !os::read_file("/proc/thread-self/net/anycast6").value_or("").empty(); }

Result<void> look_for_program(const InKernel& its, SocketReading& reading) {
  TRY_ASSIGN(const auto group, its.number("sock", "sk_reuseport_cb"));
  if (group == 0) return {};
  TRY_ASSIGN(const auto program, its.memory.number(group, "sock_reuseport", "prog"));
  if (program != 0)
    reading.refuse(
        "a BPF program chooses among the sockets of its port (SO_ATTACH_REUSEPORT_EBPF, or _CBPF), "
        "and it cannot be read");
  return {};
}

Result<void> look_for_anycast_group(const InKernel& its, SocketReading& reading) {
  TRY_ASSIGN(const auto more, its.number("inet_sock", "pinet6"));
  TRY_ASSIGN(const auto groups, its.memory.number(more, "ipv6_pinfo", "ipv6_ac_list"));
  if (groups != 0) reading.refuse("it has joined an anycast group, and which one cannot be read");
  return {};
}

Result<void> look_for_numbered_interface(const InKernel& its, SocketReading& reading) {
  TRY_ASSIGN(const auto number, its.number("inet_sock", "mc_index"));
  TRY_ASSIGN(const auto address, its.number("inet_sock", "mc_addr"));
  if (number != 0 && address == 0)
    reading.refuse(
        "what it sends to groups leaves by an interface that it has named by number (IP_MULTICAST_IF)",
        "configure the interface by its address");
  return {};
}

Result<void> read_budget(const InKernel& its, SocketReading& reading) {
  TRY_ASSIGN(const auto budget, its.number("sock", "sk_busy_poll_budget"));
  if (budget == kBusyPollBudget) return {};
  const auto value = static_cast<std::int32_t>(budget);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&value);
  reading.socket.options.push_back(
      {SOL_SOCKET, SO_BUSY_POLL_BUDGET, Bytes{{bytes, bytes + sizeof value}}, ""});
  return {};
}

}  // namespace

void read_write_only_options(SocketReading& reading) {
  const auto& socket = reading.socket;
  if (socket.family != AF_INET && socket.family != AF_INET6) return;
  using LookAt = Result<void> (*)(const InKernel&, SocketReading&);
  const std::tuple<bool, LookAt, const char*> looks[] = {
      {shares_its_port(reading.fd), look_for_program, "SO_ATTACH_REUSEPORT_EBPF"},
      {socket.family == AF_INET6 && has_anycast_groups(), look_for_anycast_group, "IPV6_JOIN_ANYCAST"},
      {socket.type != SOCK_STREAM, look_for_numbered_interface, "IP_MULTICAST_IF"},
      {polls(reading.fd), read_budget, "SO_BUSY_POLL_BUDGET"}};
  std::optional<Result<InKernel>> its;
  for (const auto& [wanted, look, option] : looks) {
    if (!wanted) continue;
    if (!its) its.emplace(InKernel::find(reading.fd));
    const auto looked = *its ? look(**its, reading) : tl::unexpected(its->error());
    if (!looked)
      reading.losses.push_back(
          {fmt::format("whether {} was set cannot be seen: {}", option, looked.error().message())});
  }
}

}  // namespace upkeep::engine
