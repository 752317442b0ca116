#include "memory/store_writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "os/file.h"

namespace upkeep::memory {
namespace {

// Small enough to be in the processor's cache still when it is checksummed.

std::uint64_t aligned(std::uint64_t offset, std::uint64_t size) {
  // Whole pages for what may later be mapped where it lies; small files are packed.
  const std::uint64_t unit = size >= kPageSize ? kPageSize : 8;
  return (offset + unit - 1) / unit * unit;
}

using Directory = std::unique_ptr<DIR, decltype([](DIR* dir) { ::closedir(dir); })>;

}  // namespace

struct StoreWriter::Source {
  StoredFile file;
  std::string_view bytes;  // the content itself, where there is no descriptor: the caller's,
  std::string target;      // or a link's
  const os::UniqueFd* folder =
      nullptr;  // with path: opened when it is copied, so that few descriptors are open
  std::string path;
  int fd = -1;  // borrowed
};

namespace {

struct SourceChunk {
  std::size_t source;
  std::uint64_t index;
};

struct FoundEntry {
  std::string path;  // relative to the tree's root
  struct stat status;
  std::string link_target;
};

Result<std::vector<std::string>> sorted_names(os::Fd root, const std::string& path) {
  TRY_ASSIGN(auto fd, os::open_at(root, path.empty() ? "." : path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  Directory dir(::fdopendir(fd.get()));
  if (!dir) return ErrnoErr("list {}", path);
  (void)fd.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return ErrnoErr("list {}", path);
  std::ranges::sort(names);
  return names;
}

Result<void> find_entries(os::Fd root, const std::string& path, std::vector<FoundEntry>& found) {
  TRY_ASSIGN(auto names, sorted_names(root, path));
  for (const auto& name : names) {
    FoundEntry entry{path.empty() ? name : fmt::format("{}/{}", path, name), {}, {}};
    if (::fstatat(root.get(), entry.path.c_str(), &entry.status, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoErr("stat {}", entry.path);
    const auto mode = entry.status.st_mode;
    if (S_ISLNK(mode)) {
      entry.link_target.resize(kLongestName + 1);
      const ssize_t n =
          ::readlinkat(root.get(), entry.path.c_str(), entry.link_target.data(), entry.link_target.size());
      if (n < 0) return ErrnoErr("read the link {}", entry.path);
      entry.link_target.resize(static_cast<std::size_t>(n));
    } else if (!S_ISDIR(mode) && !S_ISREG(mode)) {
      return Err("{} is neither a file, a folder nor a link; it cannot be carried", entry.path);
    }
    const std::string child = entry.path;
    found.push_back(std::move(entry));
    if (S_ISDIR(mode)) TRY(find_entries(root, child, found));
  }
  return {};
}

}  // namespace

std::uint64_t store_size_for(std::uint64_t bytes, std::uint64_t files) {
  // For each file: alignment of its content, its line in the table with a long name and one checksum more.
  const std::uint64_t per_file = kPageSize + encoded_size("", 0) + 256 + 8;
  return kHeaderSize + bytes + files * per_file + 8 * chunk_count(bytes);
}

StoreWriter::StoreWriter(StoreMemory memory, std::vector<PhysicalRange> ranges, std::string id,
                         unsigned threads)
    : memory_(std::move(memory)), ranges_(std::move(ranges)), id_(std::move(id)), threads_(threads) {}

Result<StoreWriter> StoreWriter::create(StoreMemory memory, std::vector<PhysicalRange> ranges, std::string id,
                                        unsigned threads) {
  // An empty store's header: whatever is wrong with the ranges or the id is found now and not in the window.
  StoreHeader header{id, memory.size(), kHeaderSize, kHeaderSize, 0, checksum({}), ranges};
  TRY_IN("image store", encode_header(header));
  TRY(memory.visit(0, kHeaderSize, kHeaderSize, [](std::span<std::byte> piece) -> Result<void> {
    std::ranges::fill(piece, std::byte{0});
    return {};
  }));
  return StoreWriter(std::move(memory), std::move(ranges), std::move(id), threads);
}

bool StoreWriter::has(std::string_view name) const {
  return std::ranges::any_of(files_, [&](const StoredFile& file) { return file.name == name; });
}

void StoreWriter::add_missing_folders(const std::string& name, std::vector<Source>& sources) const {
  for (auto slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    Source folder;
    folder.file.name = name.substr(0, slash);
    folder.file.mode = S_IFDIR | 0700U;
    if (!has(folder.file.name)) sources.push_back(std::move(folder));
  }
}

Result<void> StoreWriter::add_bytes(const std::string& name, std::string_view bytes,
                                    std::uint32_t permissions) {
  TRY(check_name(name));
  std::vector<Source> sources;
  add_missing_folders(name, sources);
  Source source;
  source.file.name = name;
  source.file.mode = S_IFREG | (permissions & 07777U);
  source.file.size = bytes.size();
  source.bytes = bytes;
  sources.push_back(std::move(source));
  return add_sources(std::move(sources));
}

Result<void> StoreWriter::add_file(const std::string& name, os::Fd file) {
  TRY(check_name(name));
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) return ErrnoErr("stat {}", name);
  if (!S_ISREG(status.st_mode)) return Err("{} is not a regular file", name);
  std::vector<Source> sources;
  add_missing_folders(name, sources);
  Source source;
  source.file.name = name;
  source.file.mode = status.st_mode;
  source.file.size = static_cast<std::uint64_t>(status.st_size);
  source.fd = file.get();
  sources.push_back(std::move(source));
  return add_sources(std::move(sources));
}

Result<void> StoreWriter::add_tree(const std::string& prefix, os::Fd directory) {
  // A descriptor of our own: the threads open files below it, and the caller's may be closed meanwhile.
  TRY_ASSIGN(const auto root, os::open_at(directory, ".", O_RDONLY | O_DIRECTORY));
  std::vector<FoundEntry> found;
  TRY(find_entries(root, "", found));
  std::vector<Source> sources;
  if (!prefix.empty()) {
    TRY(check_name(prefix));
    add_missing_folders(prefix + "/", sources);
  }
  for (auto& entry : found) {
    Source source;
    source.file.name = prefix.empty() ? entry.path : prefix + "/" + entry.path;
    source.file.mode = entry.status.st_mode;
    if (S_ISREG(entry.status.st_mode)) {
      source.file.size = static_cast<std::uint64_t>(entry.status.st_size);
      source.folder = &root;
      source.path = std::move(entry.path);
    } else if (S_ISLNK(entry.status.st_mode)) {
      source.file.size = entry.link_target.size();
      source.target = std::move(entry.link_target);
    }
    sources.push_back(std::move(source));
  }
  return add_sources(std::move(sources));
}

Result<void> StoreWriter::place(StoredFile& file, std::uint64_t& data_end, std::uint64_t& table_size) const {
  table_size += encoded_size(file.name, file.size);
  file.chunk_checksums.resize(chunk_count(file.size));
  if (file.size != 0) {
    file.offset = aligned(data_end, file.size);
    data_end = (file.offset + file.size + 7) / 8 * 8;
  }
  // The table, which comes behind the files, must fit too.
  const std::uint64_t needed = data_end + table_size;
  if (needed > memory_.size())
    return Err(
        "no room in the image store: '{}' with {} bytes does not fit, {} MB are reserved and {} more bytes "
        "needed",
        file.name, file.size, memory_.size() / kMiB, needed - memory_.size());
  return {};
}

Result<void> StoreWriter::add_sources(std::vector<Source> sources) {
  if (finished_) return Err("the image store is finished, nothing can be added");
  const Stopwatch watch;
  TreeCheck tree;
  for (const auto& file : files_) TRY(tree.add(file));
  std::uint64_t data_end = data_end_;
  std::uint64_t table_size = table_size_;
  std::uint64_t bytes = 0;
  for (auto& source : sources) {
    TRY(check_name(source.file.name));
    TRY(tree.add(source.file));
    TRY(place(source.file, data_end, table_size));
    bytes += source.file.size;
  }
  const std::size_t first = files_.size();
  for (const auto& source : sources) files_.push_back(source.file);
  if (auto copied = copy(sources, first); !copied) {
    files_.resize(first);
    return copied;
  }
  data_end_ = data_end;
  table_size_ = table_size;
  measured_ += Measured{bytes, sources.size(), threads_, watch.elapsed()};
  return {};
}

namespace {

// Fills [offset, offset + length) of the store with bytes of the source and returns their checksum.
template <typename Read>
Result<std::uint64_t> copy_chunk(const StoreMemory& memory, std::uint64_t offset, std::uint64_t length,
                                 Read&& read) {
  RunningChecksum sum;
  auto copied = memory.visit(offset, length, kPieceSize, [&](std::span<std::byte> piece) -> Result<void> {
    TRY(read(piece));
    sum.add(piece);
    return {};
  });
  if (!copied) return tl::unexpected(std::move(copied).error());
  return sum.value();
}

Result<void> check_size(os::Fd fd, const StoredFile& file) {
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0) return ErrnoErr("stat {}", file.name);
  if (static_cast<std::uint64_t>(status.st_size) != file.size)
    return Err("{} changed while it was read: {} bytes, then {}", file.name, file.size, status.st_size);
  return {};
}

}  // namespace

Result<void> StoreWriter::copy(const std::vector<Source>& sources, std::size_t first) {
  std::vector<SourceChunk> chunks;
  for (std::size_t i = 0; i < sources.size(); ++i)
    for (std::uint64_t chunk = 0; chunk < chunk_count(sources[i].file.size); ++chunk)
      chunks.push_back({i, chunk});
  return os::for_each_parallel(chunks.size(), threads_, [&](std::size_t job) -> Result<void> {
    const Source& source = sources[chunks[job].source];
    StoredFile& file = files_[first + chunks[job].source];
    std::uint64_t at = chunks[job].index * kChunkSize;
    const std::uint64_t length = std::min(kChunkSize, file.size - at);
    std::uint64_t& sum = file.chunk_checksums[chunks[job].index];
    if (source.fd < 0 && source.folder == nullptr) {
      const std::string_view content = source.target.empty() ? source.bytes : source.target;
      auto from_memory = [&](std::span<std::byte> piece) -> Result<void> {
        std::memcpy(piece.data(), content.data() + at, piece.size());
        at += piece.size();
        return {};
      };
      TRY_ASSIGN(sum, copy_chunk(memory_, file.offset + at, length, from_memory));
      return {};
    }
    os::UniqueFd opened;
    if (source.folder != nullptr) {
      TRY_ASSIGN(opened, os::open_at(*source.folder, source.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    }
    const os::Fd fd(source.folder != nullptr ? opened.get() : source.fd);
    auto copied =
        copy_chunk(memory_, file.offset + at, length, [&](std::span<std::byte> piece) -> Result<void> {
          TRY(os::pread_all(fd, piece, static_cast<off_t>(at)));
          at += piece.size();
          return {};
        });
    if (!copied) return tl::unexpected(std::move(copied).error().in(file.name));
    sum = *copied;
    return check_size(fd, file);
  });
}

Result<void> StoreWriter::finish() {
  if (finished_) return Err("the image store is finished already");
  const auto table = encode_table(files_);
  StoreHeader header;
  header.id = id_;
  header.total_length = memory_.size();
  header.table_offset = data_end_;
  header.table_length = table.size();
  header.used_length = header.table_offset + header.table_length;
  header.table_checksum = checksum(table);
  header.ranges = ranges_;
  TRY_ASSIGN(const auto page, encode_header(header));
  auto write = [&](std::uint64_t offset, std::span<const std::byte> bytes) {
    return memory_.visit(offset, bytes.size(), bytes.size(), [&](std::span<std::byte> piece) -> Result<void> {
      std::ranges::copy(bytes.first(piece.size()), piece.begin());
      bytes = bytes.subspan(piece.size());
      return {};
    });
  };
  TRY(write(header.table_offset, table));
  TRY(write(0, page));
  finished_ = true;
  return {};
}

}  // namespace upkeep::memory
