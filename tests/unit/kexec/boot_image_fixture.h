#pragma once
// A bzImage with a valid header and nothing behind it that could run.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

struct FakeImage {
  std::string bytes;

  template <typename T>
  FakeImage& put(std::size_t offset, T value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    return *this;
  }
};

inline FakeImage fake_image(std::string_view version) {
  constexpr unsigned sectors = 4;
  constexpr std::uint32_t payload = 300;
  FakeImage image{std::string((sectors + 1) * 512 + payload, '\0')};
  image.put<std::uint8_t>(0x1f1, sectors).put<std::uint16_t>(0x1fe, 0xaa55).put<std::uint16_t>(0x206, 0x020f);
  image.bytes.replace(0x202, 4, "HdrS");
  image.put<std::uint16_t>(0x20e, 0x400 - 0x200);
  image.put<std::uint32_t>(0x230, 0x200000).put<std::uint8_t>(0x234, 1).put<std::uint16_t>(0x236, 0x23);
  image.put<std::uint32_t>(0x238, 2047).put<std::uint32_t>(0x248, 0).put<std::uint32_t>(0x24c, payload);
  image.put<std::uint64_t>(0x258, 0x1000000).put<std::uint32_t>(0x260, 0x3000000);
  image.bytes.replace(0x400, version.size(), version);
  return image;
}
