#include "os/netlink.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>

namespace upkeep::os {
namespace {

constexpr std::size_t kMaxAttribute = 0xffff - sizeof(nlattr);
constexpr unsigned kTypeBits = 0x3fff;  // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
constexpr int kDumpTries = 10;

std::size_t aligned(std::size_t size) { return (size + 3) & ~std::size_t{3}; }

template <typename T>
T copy_from(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace

std::string NetlinkAttribute::bytes() const {
  return {reinterpret_cast<const char*>(payload_.data()), payload_.size()};
}

std::string NetlinkAttribute::text() const {
  std::string all = bytes();
  return all.substr(0, all.find('\0'));
}

NetlinkAttributes NetlinkAttributes::parse(std::span<const std::byte> stretch) {
  NetlinkAttributes attributes;
  while (stretch.size() >= sizeof(nlattr)) {
    const auto header = copy_from<nlattr>(stretch);
    if (header.nla_len < sizeof(nlattr) || header.nla_len > stretch.size()) {
      attributes.whole_ = false;
      return attributes;
    }
    attributes.list_.emplace_back(static_cast<std::uint16_t>(header.nla_type & kTypeBits),
                                  stretch.subspan(sizeof(nlattr), header.nla_len - sizeof(nlattr)));
    stretch = stretch.subspan(std::min(aligned(header.nla_len), stretch.size()));
  }
  attributes.whole_ = stretch.empty();
  return attributes;
}

const NetlinkAttribute* NetlinkAttributes::find(std::uint16_t type) const {
  auto found = std::find_if(list_.begin(), list_.end(), [&](const auto& a) { return a.type() == type; });
  return found == list_.end() ? nullptr : &*found;
}

std::string NetlinkAttributes::text(std::uint16_t type) const {
  const auto* attribute = find(type);
  return attribute ? attribute->text() : "";
}

std::string NetlinkAttributes::bytes(std::uint16_t type) const {
  const auto* attribute = find(type);
  return attribute ? attribute->bytes() : "";
}

NetlinkAttributes NetlinkAttributes::nested(std::uint16_t type) const {
  const auto* attribute = find(type);
  return attribute ? parse(attribute->payload()) : NetlinkAttributes{};
}

NetlinkRequest::NetlinkRequest(std::uint16_t type, int flags) {
  nlmsghdr header = {};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  append(std::as_bytes(std::span(&header, 1)));
}

void NetlinkRequest::append(std::span<const std::byte> bytes) {
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  buffer_.resize(aligned(buffer_.size()));
  patch_length();
}

void NetlinkRequest::patch_length() {
  const auto length = static_cast<std::uint32_t>(buffer_.size());
  std::memcpy(buffer_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
}

NetlinkRequest& NetlinkRequest::bytes(std::uint16_t type, std::span<const std::byte> payload) {
  if (payload.size() > kMaxAttribute) {
    too_long_ = true;
    return *this;
  }
  nlattr header = {};
  header.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + payload.size());
  header.nla_type = type;
  append(std::as_bytes(std::span(&header, 1)));
  append(payload);
  return *this;
}

NetlinkRequest& NetlinkRequest::text(std::uint16_t type, std::string_view value) {
  std::string terminated(value);
  terminated.push_back('\0');
  return bytes(type, terminated);
}

NetlinkRequest& NetlinkRequest::nest(std::uint16_t type, const std::function<void(NetlinkRequest&)>& inside) {
  const std::size_t start = buffer_.size();
  bytes(type | NLA_F_NESTED, std::span<const std::byte>());
  inside(*this);
  const std::size_t size = buffer_.size() - start;
  if (size > 0xffff) {
    too_long_ = true;
    return *this;
  }
  const auto length = static_cast<std::uint16_t>(size);
  std::memcpy(buffer_.data() + start + offsetof(nlattr, nla_len), &length, sizeof length);
  return *this;
}

void NetlinkRequest::set_sequence(std::uint32_t sequence) {
  std::memcpy(buffer_.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
}

int NetlinkRequest::flags() const { return copy_from<nlmsghdr>(buffer_).nlmsg_flags; }

void NetlinkRequest::add_flags(int more) {
  const auto both = static_cast<std::uint16_t>(flags() | more);
  std::memcpy(buffer_.data() + offsetof(nlmsghdr, nlmsg_flags), &both, sizeof both);
}

std::span<const std::byte> NetlinkRequest::encoded() const {
  return too_long_ ? std::span<const std::byte>() : std::span<const std::byte>(buffer_);
}

Result<std::vector<NetlinkReply>> parse_netlink(std::span<const std::byte> datagram) {
  std::vector<NetlinkReply> replies;
  while (datagram.size() >= sizeof(nlmsghdr)) {
    const auto header = copy_from<nlmsghdr>(datagram);
    if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > datagram.size()) {
      return Err("netlink message of {} bytes in {}", header.nlmsg_len, datagram.size());
    }
    const auto body = datagram.subspan(sizeof(nlmsghdr), header.nlmsg_len - sizeof(nlmsghdr));
    replies.push_back({header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq, {body.begin(), body.end()}});
    datagram = datagram.subspan(std::min(aligned(header.nlmsg_len), datagram.size()));
  }
  if (!datagram.empty()) return Err("{} stray bytes after a netlink message", datagram.size());
  return replies;
}

std::optional<Error> netlink_error(const NetlinkReply& reply) {
  if (reply.body.size() < sizeof(int)) {
    // Old kernels end a dump with a DONE that has no number in it.
    if (reply.type == NLMSG_DONE) return std::nullopt;
    return Error("netlink error message is cut short");
  }
  const int code = -copy_from<int>(reply.body);
  if (code == 0) return std::nullopt;
  std::string words;
  if ((reply.flags & NLM_F_ACK_TLVS) != 0) {
    // With NETLINK_CAP_ACK the request's header alone is quoted in an NLMSG_ERROR; a DONE quotes nothing.
    const std::size_t skip = reply.type == NLMSG_DONE ? sizeof(int) : sizeof(nlmsgerr);
    if (reply.body.size() > skip) {
      words = NetlinkAttributes::parse(std::span(reply.body).subspan(skip)).text(NLMSGERR_ATTR_MSG);
    }
  }
  return Error(words.empty() ? errno_text(code) : fmt::format("{} ({})", words, errno_text(code)), code);
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd.valid()) return ErrnoErr("netlink socket of protocol {}", protocol);
  // Now, not with the first request: notifications go to no socket without a port number.
  sockaddr_nl any = {};
  any.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) < 0)
    return ErrnoErr("bind netlink socket");
  const int on = 1;
  // Both make errors better or smaller and nothing else: a kernel without them is none to fail over.
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  const int room = 4 << 20;  // a full set of notifications or errors of a batch
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  }
  const int request_room = 64 << 20;  // a batch goes out in one piece
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &request_room, sizeof request_room);
  // The kernel answers while it is asked; this bounds what would be a kernel bug, for a PID 1 that must not
  // hang.
  const timeval limit = {30, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return NetlinkSocket(std::move(fd));
}

Result<void> NetlinkSocket::transmit(std::span<const std::byte> bytes) {
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  for (;;) {
    ssize_t sent = ::sendto(fd_.get(), bytes.data(), bytes.size(), 0,
                            reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return ErrnoErr("send netlink request");
    return {};
  }
}

Result<std::vector<NetlinkReply>> NetlinkSocket::receive() {
  for (;;) {
    std::byte probe;
    ssize_t size = ::recv(fd_.get(), &probe, sizeof probe, MSG_PEEK | MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoErr("receive netlink answer");
    std::vector<std::byte> buffer(static_cast<std::size_t>(size));
    sockaddr_nl sender = {};
    socklen_t length = sizeof sender;
    size =
        ::recvfrom(fd_.get(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&sender), &length);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoErr("receive netlink answer");
    if (sender.nl_pid != 0) continue;  // any process may send to this socket; only the kernel is believed
    return parse_netlink(std::span(buffer).first(std::min(buffer.size(), static_cast<std::size_t>(size))));
  }
}

Result<void> NetlinkSocket::send(std::vector<NetlinkRequest> requests) {
  const std::uint32_t first = sequence_ + 1;
  std::vector<std::byte> datagram;
  std::size_t awaited = 0;
  for (auto& request : requests) {
    request.set_sequence(++sequence_);
    const auto bytes = request.encoded();
    if (bytes.empty()) return Err("netlink request with an attribute of more than 64 KB");
    datagram.insert(datagram.end(), bytes.begin(), bytes.end());
    if ((request.flags() & NLM_F_ACK) != 0) ++awaited;
  }
  TRY(transmit(datagram));
  while (awaited > 0) {
    TRY_ASSIGN(auto replies, receive());
    for (const auto& reply : replies) {
      if (reply.sequence < first || reply.sequence > sequence_ || reply.type != NLMSG_ERROR) continue;
      if (auto error = netlink_error(reply)) return tl::unexpected(std::move(*error));
      --awaited;
    }
  }
  return {};
}

Result<void> NetlinkSocket::send(NetlinkRequest request) {
  request.add_flags(NLM_F_ACK);
  std::vector<NetlinkRequest> one;
  one.push_back(std::move(request));
  return send(std::move(one));
}

// False: the answer was complete but is not consistent.
Result<bool> NetlinkSocket::query_once(const NetlinkRequest& question, std::vector<NetlinkReply>& answers) {
  NetlinkRequest request = question;
  // NLM_F_ROOT and NLM_F_MATCH share their bits with flags of other kinds of requests; queries have only
  // dumps.
  if ((request.flags() & NLM_F_DUMP) != NLM_F_DUMP) request.add_flags(NLM_F_ACK);
  request.set_sequence(++sequence_);
  TRY(transmit(request.encoded()));
  bool consistent = true;
  for (;;) {
    TRY_ASSIGN(auto replies, receive());
    for (auto& reply : replies) {
      if (reply.sequence != sequence_) continue;
      if ((reply.flags & NLM_F_DUMP_INTR) != 0) consistent = false;
      if (reply.type == NLMSG_ERROR || reply.type == NLMSG_DONE) {
        if (auto error = netlink_error(reply)) return tl::unexpected(std::move(*error));
        return consistent;
      }
      answers.push_back(std::move(reply));
    }
  }
}

Result<void> NetlinkSocket::query(const NetlinkRequest& request, const Callback& callback) {
  for (int i = 0; i < kDumpTries; ++i) {
    std::vector<NetlinkReply> replies;
    TRY_ASSIGN(bool consistent, query_once(request, replies));
    if (!consistent) continue;
    for (const auto& reply : replies) TRY(callback(reply));
    return {};
  }
  return tl::unexpected(Error("netlink dump keeps being interrupted by changes", EINTR));
}

Result<void> NetlinkSocket::join(int group) {
  if (::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) {
    return ErrnoErr("join netlink group {}", group);
  }
  return {};
}

Result<bool> NetlinkSocket::wait(std::chrono::milliseconds timeout, const Callback& callback) {
  pollfd fd = {fd_.get(), POLLIN, 0};
  const auto limit = std::clamp<std::int64_t>(timeout.count(), 0, 3'600'000);
  int ready = ::poll(&fd, 1, static_cast<int>(limit));
  if (ready < 0 && errno != EINTR) return ErrnoErr("poll netlink socket");
  if (ready <= 0) return ready < 0;  // a signal: let the caller look at its deadline
  auto replies = receive();
  // ENOBUFS: notifications were lost. Something happened, then: the caller looks again.
  if (!replies && replies.error().code() == ENOBUFS) return true;
  if (!replies) return tl::unexpected(std::move(replies).error());
  for (const auto& reply : *replies) TRY(callback(reply));
  return true;
}

}  // namespace upkeep::os
