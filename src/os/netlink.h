#pragma once
// Netlink, netlink(7): the owner of a socket, a builder of requests and a bounds-checked reader of answers.
// Raw on purpose: upkeep-init is linked statically and runs where there is no library but libc.

#include <linux/netlink.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::os {

// One attribute, borrowed from the message it is in.
class NetlinkAttribute {
 public:
  NetlinkAttribute(std::uint16_t type, std::span<const std::byte> payload) : type_(type), payload_(payload) {}
  std::uint16_t type() const { return type_; }  // without the nested and byte order bits
  std::span<const std::byte> payload() const { return payload_; }
  // A number or a structure at the start of the payload; nothing where the payload is too short for it.
  // Kernels append to structures, so a longer payload is all right.
  template <typename T>
  std::optional<T> as() const {
    static_assert(std::is_trivially_copyable_v<T>);
    if (payload_.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, payload_.data(), sizeof value);
    return value;
  }
  std::string text() const;   // up to the first NUL
  std::string bytes() const;  // all of it

 private:
  std::uint16_t type_;
  std::span<const std::byte> payload_;
};

// The attributes of a stretch of a message, in order. A length that does not fit ends the list: whole() is
// then false.
class NetlinkAttributes {
 public:
  NetlinkAttributes() = default;
  static NetlinkAttributes parse(std::span<const std::byte> stretch);
  const NetlinkAttribute* find(std::uint16_t type) const;  // the first of that type, or null
  template <typename T>
  T number(std::uint16_t type, T fallback) const {
    const auto* attribute = find(type);
    return attribute ? attribute->as<T>().value_or(fallback) : fallback;
  }
  std::string text(std::uint16_t type) const;          // "" where it is not there
  std::string bytes(std::uint16_t type) const;         // likewise
  NetlinkAttributes nested(std::uint16_t type) const;  // empty where it is not there
  bool whole() const { return whole_; }
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }

 private:
  std::vector<NetlinkAttribute> list_;
  bool whole_ = true;
};

// A message being built: header, the family's own structure, attributes.
class NetlinkRequest {
 public:
  // FLAGS beside NLM_F_REQUEST, which is always set.
  NetlinkRequest(std::uint16_t type, int flags);
  template <typename T>
  NetlinkRequest(std::uint16_t type, int flags, const T& header) : NetlinkRequest(type, flags) {
    static_assert(std::is_trivially_copyable_v<T>);
    append(std::as_bytes(std::span(&header, 1)));
  }

  NetlinkRequest& bytes(std::uint16_t type, std::span<const std::byte> payload);
  NetlinkRequest& bytes(std::uint16_t type, std::string_view payload) {
    return bytes(type, std::as_bytes(std::span(payload)));
  }
  template <typename T>
  NetlinkRequest& number(std::uint16_t type, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return bytes(type, std::as_bytes(std::span(&value, 1)));
  }
  NetlinkRequest& text(std::uint16_t type, std::string_view value);  // with the NUL that the kernel expects
  // A structure with no attribute header of its own: what some nested attributes begin with.
  template <typename T>
  NetlinkRequest& structure(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    append(std::as_bytes(std::span(&value, 1)));
    return *this;
  }
  NetlinkRequest& nest(std::uint16_t type, const std::function<void(NetlinkRequest&)>& inside);

  void set_sequence(std::uint32_t sequence);
  void add_flags(int flags);
  int flags() const;
  // The bytes as they go out. An attribute of more than 64 KB makes the message unusable: empty then.
  std::span<const std::byte> encoded() const;

 private:
  void append(std::span<const std::byte> bytes);  // padded to NLMSG_ALIGNTO
  void patch_length();
  std::vector<std::byte> buffer_;
  bool too_long_ = false;
};

// A message received.
struct NetlinkReply {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  std::vector<std::byte> body;  // after nlmsghdr

  // The family's structure at the start (ifinfomsg, rtmsg, ...); an error where the message is shorter than
  // that.
  template <typename T>
  Result<T> header() const {
    if (body.size() < sizeof(T))
      return Err("netlink message of type {} is cut short ({} bytes)", type, body.size());
    T value;
    std::memcpy(&value, body.data(), sizeof value);
    return value;
  }
  // What follows that structure. Borrowed from this message.
  template <typename T>
  NetlinkAttributes attributes() const {
    const std::size_t offset = NLMSG_ALIGN(sizeof(T));
    if (body.size() < offset) return {};
    return NetlinkAttributes::parse(std::span(body).subspan(offset));
  }
};

// Splits a datagram into its messages; an error where a length does not fit.
Result<std::vector<NetlinkReply>> parse_netlink(std::span<const std::byte> datagram);
// The error of an NLMSG_ERROR or NLMSG_DONE message with the kernel's own words (extended acknowledgement);
// nothing for 0.
std::optional<Error> netlink_error(const NetlinkReply& reply);

class NetlinkSocket {
 public:
  using Callback = std::function<Result<void>(const NetlinkReply&)>;

  // PROTOCOL: NETLINK_ROUTE, NETLINK_NETFILTER, ... EPROTONOSUPPORT where the kernel has none of that kind.
  // The socket belongs to the network namespace of the calling thread for good.
  static Result<NetlinkSocket> open(int protocol);

  // Sends requests in one datagram (which makes them one transaction for nf_tables, between batch begin and
  // end) and waits until each that asks for an acknowledgement has one. The first error is returned with its
  // errno as code.
  Result<void> send(std::vector<NetlinkRequest> requests);
  // One request with NLM_F_ACK added.
  Result<void> send(NetlinkRequest request);
  // A question: gives every message of the answer to CALLBACK. With NLM_F_DUMP in its flags a dump, done
  // again from the start where the kernel says that it was interrupted by a change: CALLBACK sees one
  // consistent set only.
  Result<void> query(const NetlinkRequest& request, const Callback& callback);

  // Notifications: joins a multicast group (RTNLGRP_LINK, ...), then waits for the next ones. False: the time
  // was over.
  Result<void> join(int group);
  Result<bool> wait(std::chrono::milliseconds timeout, const Callback& callback);

 private:
  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<void> transmit(std::span<const std::byte> bytes);
  Result<std::vector<NetlinkReply>> receive();
  Result<bool> query_once(const NetlinkRequest& request, std::vector<NetlinkReply>& replies);
  UniqueFd fd_;
  std::uint32_t sequence_ = 0;
};

}  // namespace upkeep::os
