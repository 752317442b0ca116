#include "memory/carried_images.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "memory/store_writer.h"
#include "os/file.h"

namespace upkeep::memory {
namespace {

struct Chunk {
  const StoredFile* file;
  std::uint64_t index;
  std::uint64_t at() const { return index * kChunkSize; }
  std::uint64_t length() const { return std::min(kChunkSize, file->size - at()); }
};

std::vector<Chunk> chunks_of(const std::vector<const StoredFile*>& files) {
  std::vector<Chunk> chunks;
  for (const auto* file : files)
    for (std::uint64_t i = 0; i < chunk_count(file->size); ++i) chunks.push_back({file, i});
  return chunks;
}

// Passes a chunk's bytes to USE, piece by piece, and says at its end whether they were right.
template <typename Use>
Result<void> checked_chunk(const StoreContents& contents, const Chunk& chunk, Use&& use) {
  RunningChecksum sum;
  TRY(contents.visit(chunk.file->offset + chunk.at(), chunk.length(), kPieceSize,
                     [&](std::span<const std::byte> piece) -> Result<void> {
                       sum.add(piece);
                       return use(piece);
                     }));
  if (sum.value() != chunk.file->chunk_checksums[chunk.index])
    return Err("the images are corrupted: '{}', wrong checksum between bytes {} and {}", chunk.file->name,
               chunk.at(), chunk.at() + chunk.length());
  return {};
}

Result<std::string> read_checked(const StoreContents& contents, const StoredFile& file) {
  std::string bytes;
  bytes.reserve(file.size);
  for (const auto& chunk : chunks_of({&file}))
    TRY(checked_chunk(contents, chunk, [&](std::span<const std::byte> piece) -> Result<void> {
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      return {};
    }));
  return bytes;
}

Result<void> pwrite_all(os::Fd fd, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoErr("write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

std::string_view below(std::string_view name, std::string_view prefix) {
  if (prefix.empty()) return name;
  if (name.size() <= prefix.size() || !name.starts_with(prefix) || name[prefix.size()] != '/') return {};
  return name.substr(prefix.size() + 1);
}

Result<void> make_entry(os::Fd directory, const std::string& path, const StoredFile& file,
                        const StoreContents& contents) {
  const mode_t permissions = file.mode & 07777U;
  if (file.is_folder()) {
    if (::mkdirat(directory.get(), path.c_str(), permissions | 0700U) != 0 && errno != EEXIST)
      return ErrnoErr("make the folder {}", path);
    return {};
  }
  if (file.is_link()) {
    TRY_ASSIGN(const auto target, read_checked(contents, file));
    if (::symlinkat(target.c_str(), directory.get(), path.c_str()) != 0)
      return ErrnoErr("make the link {}", path);
    return {};
  }
  TRY_ASSIGN(const auto fd,
             os::open_at(directory, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, permissions));
  if (::fchmod(fd.get(), permissions) != 0) return ErrnoErr("set the mode of {}", path);
  if (::ftruncate(fd.get(), static_cast<off_t>(file.size)) != 0) return ErrnoErr("set the size of {}", path);
  return {};
}

}  // namespace

CarriedImages::Mapping::Mapping(Mapping&& other) noexcept
    : address(std::exchange(other.address, nullptr)), length(other.length) {}
CarriedImages::Mapping::~Mapping() {
  if (address != nullptr) ::munmap(const_cast<std::byte*>(address), length);
}

Result<CarriedImages::Mapping> CarriedImages::map(os::Fd fd, std::uint64_t offset, std::uint64_t length) {
  void* const memory = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd.get(), static_cast<off_t>(offset));
  if (memory == MAP_FAILED) return ErrnoErr("map the image store at {:#x}, {} MB", offset, length / kMiB);
  return Mapping(static_cast<const std::byte*>(memory), length);
}

Result<CarriedImages> CarriedImages::open(std::uint64_t address, const std::string& memory_device) {
  TRY_ASSIGN(const auto device, os::open_file(memory_device, O_RDONLY));
  CarriedImages images;
  {
    TRY_ASSIGN(const auto page, map(device, address, kHeaderSize));
    TRY_ASSIGN(images.header_, parse_header({page.address, kHeaderSize}));
  }
  if (images.header_.ranges.front().start != address)
    return Err("the image store at {:#x} says that it lies at {:#x}", address,
               images.header_.ranges.front().start);
  std::vector<std::span<const std::byte>> pieces;
  std::uint64_t left = images.header_.used_length;
  for (const auto& range : images.header_.ranges) {
    if (left == 0) break;
    // Only what is used: less page tables, and the rest may be anything.
    const std::uint64_t length = std::min(range.size, (left + kPageSize - 1) / kPageSize * kPageSize);
    TRY_ASSIGN(auto mapping, map(device, range.start, length));
    pieces.emplace_back(mapping.address, length);
    images.mappings_.push_back(std::move(mapping));
    left -= std::min(left, length);
  }
  images.contents_ = StoreContents(pieces);
  TRY(images.load());
  return images;
}

Result<CarriedImages> CarriedImages::open_file(const std::string& path) {
  TRY_ASSIGN(const auto file, os::open_file(path, O_RDONLY));
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) return ErrnoErr("stat {}", path);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < kHeaderSize) return Err("{} is too short for an image store", path);
  CarriedImages images;
  TRY_ASSIGN(auto mapping, map(file, 0, size));
  TRY_ASSIGN(images.header_, parse_header({mapping.address, kHeaderSize}));
  if (images.header_.used_length > size)
    return Err("{} is cut off: {} of {} bytes", path, size, images.header_.used_length);
  images.contents_ = StoreContents({{mapping.address, size}});
  images.mappings_.push_back(std::move(mapping));
  TRY(images.load());
  return images;
}

Result<void> CarriedImages::load() {
  std::vector<std::byte> table;
  TRY(contents_.visit(header_.table_offset, header_.table_length, header_.table_length,
                      [&](std::span<const std::byte> piece) -> Result<void> {
                        table.insert(table.end(), piece.begin(), piece.end());
                        return {};
                      }));
  TRY_ASSIGN(files_, parse_table(table, header_));
  return {};
}

const StoredFile* CarriedImages::find(std::string_view name) const {
  const auto it = std::ranges::find(files_, name, &StoredFile::name);
  return it == files_.end() ? nullptr : &*it;
}

Result<std::string> CarriedImages::read(std::string_view name) const {
  const StoredFile* file = find(name);
  if (file == nullptr || !S_ISREG(file->mode)) return Err("there is no file '{}' in the image store", name);
  return read_checked(contents_, *file);
}

Result<std::string> CarriedImages::manifest() const { return read(kManifestName); }

Result<void> CarriedImages::extract(os::Fd directory, std::string_view prefix, unsigned threads) {
  const Stopwatch watch;
  std::vector<const StoredFile*> chosen;
  std::uint64_t bytes = 0;
  for (const auto& file : files_) {
    const auto path = below(file.name, prefix);
    if (path.empty()) continue;
    TRY(make_entry(directory, std::string(path), file, contents_));
    if (S_ISREG(file.mode)) chosen.push_back(&file);
    bytes += file.size;
  }
  if (chosen.empty() && !prefix.empty() && find(prefix) == nullptr)
    return Err("there is no folder '{}' in the image store", prefix);
  const auto chunks = chunks_of(chosen);
  auto copy = [&](std::size_t job) -> Result<void> {
    const Chunk& chunk = chunks[job];
    const std::string path(below(chunk.file->name, prefix));
    // A file that its owner may not write is still ours to write: root, and opened for writing only here.
    TRY_ASSIGN(const auto fd, os::open_at(directory, path, O_WRONLY | O_NOFOLLOW));
    std::uint64_t at = chunk.at();
    return checked_chunk(contents_, chunk, [&](std::span<const std::byte> piece) -> Result<void> {
      TRY_IN(path, pwrite_all(fd, piece, at));
      at += piece.size();
      return {};
    });
  };
  TRY(os::for_each_parallel(chunks.size(), threads, copy));
  measured_ += Measured{bytes, chosen.size(), threads, watch.elapsed()};
  return {};
}

Result<void> CarriedImages::verify(unsigned threads) const {
  std::vector<const StoredFile*> all;
  for (const auto& file : files_) all.push_back(&file);
  const auto chunks = chunks_of(all);
  return os::for_each_parallel(chunks.size(), threads, [&](std::size_t job) {
    return checked_chunk(contents_, chunks[job], [](std::span<const std::byte>) { return Result<void>(); });
  });
}

Result<void> CarriedImages::save_to(const std::string& path) const {
  TRY(verify());
  const std::string temporary = path + ".part";
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT) return ErrnoErr("remove {}", temporary);
  auto write = [&]() -> Result<void> {
    TRY_ASSIGN(const auto file, os::open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    TRY_IN(temporary, contents_.visit(0, header_.used_length, kMiB, [&](std::span<const std::byte> piece) {
      return os::write_all(file, piece);
    }));
    if (::fsync(file.get()) != 0) return ErrnoErr("fsync {}", temporary);
    if (::rename(temporary.c_str(), path.c_str()) != 0) return ErrnoErr("rename {}", temporary);
    const auto folder = std::filesystem::path(path).parent_path().string();
    TRY_ASSIGN(const auto directory, os::open_file(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY));
    if (::fsync(directory.get()) != 0) return ErrnoErr("fsync {}", folder);
    return {};
  };
  auto done = write();
  if (!done) ::unlink(temporary.c_str());
  return done;
}

}  // namespace upkeep::memory
