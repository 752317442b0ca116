#include "initramfs/kmod_index.h"

#include <gmock/gmock.h>

#include "kernel_tree.h"

namespace upkeep::initramfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> names(const Result<std::vector<IndexedModule>>& modules) {
  if (!modules) return {"error: " + modules.error().message()};
  std::vector<std::string> found;
  for (const auto& module : *modules) found.push_back(module.name + (module.built_in ? " (built in)" : ""));
  return found;
}

TEST(SoftDependencyText, BeforeAndAfter) {
  const auto both = parse_soft_dependencies("ignored pre: a b post: c pre: d");
  EXPECT_THAT(both.before, ElementsAre("a", "b", "d"));
  EXPECT_THAT(both.after, ElementsAre("c"));
  EXPECT_THAT(parse_soft_dependencies("gcm").before, IsEmpty());  // as cifs writes it: nothing to modprobe
  EXPECT_THAT(parse_soft_dependencies("").before, IsEmpty());
  EXPECT_THAT(parse_soft_dependencies("pre:").before, IsEmpty());
}

TEST(KmodIndexTest, AliasNameAndWhatIsBuiltIn) {
  KernelTree tree;
  tree.add({"virtio_blk", {"virtio:d00000002v*"}, {}, {}});
  tree.add({"other_blk", {"virtio:d00000002v*"}, {}, {}});
  tree.add_built_in("virtio_pci", {"pci:v00001AF4d*sv*sd*bc*sc*i*"});
  tree.index();
  tree.write(tree.root() / "modprobe.d/x.conf", "blacklist other_blk\noptions virtio_blk queue_depth=64\n");
  const auto index = KmodIndex::open(tree.release(), tree.roots());
  ASSERT_TRUE(index) << index.error().message();
  EXPECT_THAT(names(index->lookup("virtio-blk")), ElementsAre("virtio_blk"));
  EXPECT_THAT(names(index->lookup("virtio:d00000002v00001AF4")),
              testing::UnorderedElementsAre("virtio_blk", "other_blk"));
  EXPECT_THAT(names(index->lookup_allowed("virtio:d00000002v00001AF4")), ElementsAre("virtio_blk"));
  EXPECT_THAT(names(index->lookup("other_blk")), ElementsAre("other_blk"));  // by name it is no matter
  EXPECT_THAT(names(index->lookup("pci:v00001AF4d00001001sv0sd0bc01sc00i00")),
              ElementsAre("virtio_pci (built in)"));
  EXPECT_THAT(names(index->lookup("virtio_pci")), ElementsAre("virtio_pci (built in)"));
  EXPECT_THAT(names(index->lookup("pci:v00008086d00001001sv0sd0bc01sc00i00")), IsEmpty());
  EXPECT_THAT(names(index->lookup_allowed("nothing")), IsEmpty());
  EXPECT_EQ(index->options("virtio_blk"), "queue_depth=64");
  EXPECT_EQ(index->lookup("virtio_blk")->at(0).path, tree.module_file("virtio_blk"));
}

TEST(BuiltInAliases, OnlyAliases) {
  using namespace std::string_literals;
  const auto aliases = parse_built_in_aliases(
      "ext4.alias=fs-ext4\0ext4.license=GPL\0x.alias=a.alias=b\0noise\0\0.alias=\0y.alias="s);
  std::vector<std::string> seen;
  for (const auto& alias : aliases) seen.push_back(alias.module + ":" + alias.pattern);
  EXPECT_THAT(seen, ElementsAre("ext4:fs_ext4", "x:a.alias=b", ":", "y:"));
  EXPECT_THAT(parse_built_in_aliases("").size(), 0U);
}

TEST(KmodIndexTest, BuiltInOnesAreNamedBesideLoadableOnes) {
  KernelTree tree;
  tree.add({"crc32c_intel", {"crc32c"}, {}, {}});
  tree.add_built_in("crc32c_generic", {"crc32c", "crypto-crc32c"});
  tree.index();
  const auto index = KmodIndex::open(tree.release(), tree.roots());
  ASSERT_TRUE(index) << index.error().message();
  EXPECT_THAT(names(index->lookup("crc32c")), ElementsAre("crc32c_intel", "crc32c_generic (built in)"));
  EXPECT_THAT(names(index->lookup_allowed("crypto_crc32c")), ElementsAre("crc32c_generic (built in)"));
}

TEST(KmodIndexTest, DependenciesSoftOnesAndFirmware) {
  KernelTree tree;
  tree.add({"libcrc32c", {}, {}, {"softdep=pre: crc32c"}});
  tree.add({"nfnetlink", {}, {}, {}});
  tree.add({"nf_tables", {}, {"nfnetlink", "libcrc32c"}, {"firmware=a/b.bin", "firmware=c.bin"}});
  tree.index();
  const auto index = KmodIndex::open(tree.release(), tree.roots());
  ASSERT_TRUE(index);
  EXPECT_THAT(names(index->dependencies("nf_tables")),
              testing::UnorderedElementsAre("nfnetlink", "libcrc32c"));
  EXPECT_THAT(index->soft_dependencies("libcrc32c").before, ElementsAre("crc32c"));
  EXPECT_THAT(index->soft_dependencies("nf_tables").before, IsEmpty());
  EXPECT_THAT(index->firmware("nf_tables"), ElementsAre("a/b.bin", "c.bin"));
}

TEST(KmodIndexTest, MissingIndexSaysWhatToDo) {
  KernelTree tree;
  EXPECT_THAT(KmodIndex::open("1.2.3", tree.roots()).error().message(),
              HasSubstr("kernel 1.2.3 has no modules"));
  EXPECT_THAT(KmodIndex::open(tree.release(), tree.roots()).error().message(),
              HasSubstr("run 'depmod 9.9.9-test'"));
}

TEST(KmodIndexTest, DamagedIndexDoesNotCrash) {
  KernelTree tree;
  tree.add({"m", {"alias:x"}, {}, {}});
  tree.index();
  for (const auto* name : {"modules.dep.bin", "modules.alias.bin", "modules.builtin.bin"})
    tree.write(tree.folder() / name, "rubbish");
  const auto index = KmodIndex::open(tree.release(), tree.roots());
  EXPECT_TRUE(!index || names(index->lookup("alias:x")) != std::vector<std::string>{"m"});
}

}  // namespace
}  // namespace upkeep::initramfs
