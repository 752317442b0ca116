// Feeds mutations of a good snapshot, and of what once was of interest, to the target, for a time that is
// given:
//
//   fuzz_manifest [--seconds N] [--seed N] [--keep FILE] [CORPUS]
//
// CORPUS is a folder of documents, all of which are run first as they are. The input that is being run is
// always in FILE, so that it is there after a crash: put a copy of it into the corpus. The same seed makes
// the same inputs.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "../manifest_document.h"
#include "target.h"

// A crash is worth more than a report without the input; memory that a small input asks for is bounded.
extern "C" const char* __asan_default_options();  // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __asan_default_options() {
  return "hard_rss_limit_mb=3000:max_allocation_size_mb=1024:detect_leaks=0";
}

namespace upkeep::fuzz {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr unsigned kSecondsForOne = 20;

struct Options {
  std::chrono::seconds time{30};
  std::uint64_t seed = 1;
  std::string keep = "fuzz-last-input", corpus;
};

// The input that is being run, in a file that outlives us.
class Keeper {
 public:
  explicit Keeper(const std::string& path) : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    if (fd_ < 0 || ::ftruncate(fd_, kRoom) < 0) std::perror(path.c_str()), std::exit(2);
    view_ = static_cast<char*>(::mmap(nullptr, kRoom, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
    if (view_ == MAP_FAILED) std::perror("mmap"), std::exit(2);
  }
  Keeper(const Keeper&) = delete;
  void keep(std::string_view text) {
    const auto length = std::min(text.size(), kRoom);
    std::memcpy(view_, text.data(), length);
    std::memset(view_ + length, '\n', used_ > length ? used_ - length : 0);
    used_ = length;
  }

 private:
  static constexpr std::size_t kRoom = 16U << 20U;
  int fd_;
  char* view_ = nullptr;
  std::size_t used_ = 0;
};

std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Fuzzer {
 public:
  explicit Fuzzer(const Options& options) : keeper_(options.keep), random_(options.seed) {}

  // False: the example is not a good one any more.
  bool begin(const std::string& corpus) {
    const auto good = engine::to_json(example());
    seeds_.push_back(good);
    if (run(good) != Reached::compiled) {
      const auto back = engine::read_manifest(engine::write_manifest(example()));
      std::fprintf(stderr, "example() does not reach the end: put it right (%s)\n",
                   back ? "it is read, but no programs are made of it" : back.error().message().c_str());
      return false;
    }
    if (corpus.empty()) return true;
    for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
      const auto text = slurp(entry.path());
      run(text);
      const auto document = json::parse(text, nullptr, false);
      if (document.is_discarded() || !document.contains("snapshot")) continue;
      run(document["snapshot"]);
      seeds_.push_back(document["snapshot"]);
    }
    return true;
  }

  void run_until(Clock::time_point end) {
    while (Clock::now() < end) {
      const auto& seed = seeds_[random_() % 4 == 0 ? random_() % seeds_.size() : 0];
      if (random_() % 8 == 0) {
        auto text = document_around(seed);
        mutate(text, random_);
        run(text);
      } else {
        auto content = seed;
        mutate(content, random_);
        run(content);
      }
    }
  }

  void report() const {
    std::printf("%zu inputs: %zu refused, %zu understood, %zu made into programs\n",
                count_[0] + count_[1] + count_[2], count_[0], count_[1], count_[2]);
  }
  // Inputs that are all refused at the door test nothing behind it.
  bool went_deep() const { return count_[2] > 1 && count_[0] > 0; }

 private:
  Reached run(const std::string& text) {
    keeper_.keep(text);
    return count(read_document(text));
  }
  Reached run(const json& content) {
    keeper_.keep(document_around(content));
    return count(read_content(content));
  }
  Reached count(Reached reached) {
    ::alarm(kSecondsForOne);  // an input that takes longer is a finding: SIGALRM ends us
    ++count_.at(static_cast<std::size_t>(reached));
    return reached;
  }

  Keeper keeper_;
  std::mt19937_64 random_;
  std::vector<json> seeds_;
  std::array<std::size_t, 3> count_ = {};
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with("--")) {
      options.corpus = argument;
      continue;
    }
    if (++i == argc) return false;
    if (argument == "--seconds")
      options.time = std::chrono::seconds(std::atol(argv[i]));
    else if (argument == "--seed")
      options.seed = std::strtoull(argv[i], nullptr, 10);
    else if (argument == "--keep")
      options.keep = argv[i];
    else
      return false;
  }
  return true;
}

int run(const Options& options) {
  Fuzzer fuzzer(options);
  const auto end = Clock::now() + options.time;
  if (!fuzzer.begin(options.corpus)) return 1;
  fuzzer.run_until(end);
  fuzzer.report();
  if (fuzzer.went_deep()) return 0;
  std::fprintf(stderr, "hardly any input got as far as being compiled\n");
  return 1;
}

}  // namespace
}  // namespace upkeep::fuzz

int main(int argc, char** argv) {
  upkeep::fuzz::Options options;
  if (!upkeep::fuzz::parse(argc, argv, options)) {
    std::fprintf(stderr, "usage: fuzz_manifest [--seconds N] [--seed N] [--keep FILE] [CORPUS]\n");
    return 2;
  }
  return upkeep::fuzz::run(options);
}
