#include "initramfs/decompress.h"

#include <elf.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <cstring>
#include <memory>

#include "os/file.h"

namespace upkeep::initramfs {
namespace {

constexpr std::size_t piece = std::size_t{256} << 10;

Result<void> append(std::string& out, const char* bytes, std::size_t size, std::size_t limit) {
  if (size > limit - out.size()) return Err("decompresses to more than {} MiB", limit >> 20);
  out.append(bytes, size);
  return {};
}

Result<std::string> inflate_gzip(std::string_view bytes, std::size_t limit) {
  z_stream stream{};
  if (::inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) return Err("zlib: no memory");
  std::unique_ptr<z_stream, decltype(&::inflateEnd)> owner(&stream, ::inflateEnd);
  // zlib never writes through next_in; its interface is older than const
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out, buffer(piece, '\0');
  for (int code = Z_OK; code != Z_STREAM_END;) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    code = ::inflate(&stream, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END)
      return Err("gzip data is damaged or cut short ({})",
                 stream.msg != nullptr ? stream.msg : ::zError(code));
    TRY(append(out, buffer.data(), buffer.size() - stream.avail_out, limit));
  }
  if (stream.avail_in != 0) return Err("gzip data is followed by something else");
  return out;
}

Result<std::string> decode_xz(std::string_view bytes, std::size_t limit) {
  lzma_stream stream = LZMA_STREAM_INIT;
  if (::lzma_stream_decoder(&stream, std::uint64_t{512} << 20, 0) != LZMA_OK)
    return Err("liblzma: no memory");
  std::unique_ptr<lzma_stream, decltype(&::lzma_end)> owner(&stream, ::lzma_end);
  stream.next_in = reinterpret_cast<const std::uint8_t*>(bytes.data());
  stream.avail_in = bytes.size();
  std::string out, buffer(piece, '\0');
  for (lzma_ret code = LZMA_OK; code != LZMA_STREAM_END;) {
    stream.next_out = reinterpret_cast<std::uint8_t*>(buffer.data());
    stream.avail_out = buffer.size();
    code = ::lzma_code(&stream, LZMA_FINISH);
    if (code != LZMA_OK && code != LZMA_STREAM_END)
      return Err("xz data is damaged or cut short (liblzma's code {})", static_cast<int>(code));
    TRY(append(out, buffer.data(), buffer.size() - stream.avail_out, limit));
  }
  if (stream.avail_in != 0) return Err("xz data is followed by something else");
  return out;
}

Result<std::string> decode_zstd(std::string_view bytes, std::size_t limit) {
  std::unique_ptr<ZSTD_DStream, decltype(&::ZSTD_freeDStream)> stream(::ZSTD_createDStream(),
                                                                      ::ZSTD_freeDStream);
  if (!stream) return Err("libzstd: no memory");
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  std::string out, buffer(piece, '\0');
  for (std::size_t left = 1; left != 0;) {
    ZSTD_outBuffer to{buffer.data(), buffer.size(), 0};
    const auto read_before = in.pos;
    left = ::ZSTD_decompressStream(stream.get(), &to, &in);
    if (::ZSTD_isError(left) != 0) return Err("zstd data is damaged ({})", ::ZSTD_getErrorName(left));
    TRY(append(out, buffer.data(), to.pos, limit));
    if (left != 0 && to.pos == 0 && in.pos == read_before) return Err("zstd data is cut short");
  }
  if (in.pos != in.size) return Err("zstd data is followed by something else");
  return out;
}

}  // namespace

Result<std::string> decompress(std::string_view bytes, std::size_t limit) {
  if (bytes.size() > decompressed_limit) return Err("{} MiB are too large", bytes.size() >> 20);
  if (bytes.starts_with("\x1f\x8b")) return inflate_gzip(bytes, limit);
  if (bytes.starts_with(std::string_view("\xfd"
                                         "7zXZ\0",
                                         6)))
    return decode_xz(bytes, limit);
  if (bytes.starts_with("\x28\xb5\x2f\xfd")) return decode_zstd(bytes, limit);
  return std::string(bytes);
}

Result<std::string> read_module(const std::string& path) {
  TRY_ASSIGN(const std::string file, os::read_file(path));
  auto module = decompress(file);
  if (!module) return tl::unexpected(std::move(module).error().in(path));
  Elf64_Ehdr header;
  if (module->size() < sizeof header) return Err("{}: not a kernel module", path);
  std::memcpy(&header, module->data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_type != ET_REL || header.e_machine != EM_X86_64)
    return Err("{}: not a kernel module for x86-64", path);
  return module;
}

}  // namespace upkeep::initramfs
