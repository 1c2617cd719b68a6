#include "vmm/control/option_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guestmem/error.h"

namespace faultline {
namespace {

template <typename F>
std::string ErrorOf(F f) {
  try {
    f();
  } catch (const UsageError& e) {
    return e.what();
  }
  return "no error";
}

TEST(OptionValues, WordsAndJsonSayTheSame) {
  OptionValues words("-device", "virtio-blk-pci,addr=0x3,bus=pci.0,share", "driver");
  OptionValues json("-device", R"({"driver":"virtio-blk-pci","addr":"0x3","bus":"pci.0","share":true})", "driver");
  for (OptionValues* values : {&words, &json}) {
    EXPECT_EQ(values->Need("driver"), "virtio-blk-pci");
    EXPECT_EQ(values->TakeNumber("addr"), 3U);
    EXPECT_EQ(values->Take("bus"), "pci.0");
    EXPECT_EQ(values->TakeBool("share"), true);
    values->Finish();
  }
}

TEST(OptionValues, ADoubledCommaIsOne) {
  OptionValues values("-chardev", "file,path=/a,,b=c,,,id=x", "backend");
  EXPECT_EQ(values.Take("path"), "/a,b=c,");
  EXPECT_EQ(values.Take("id"), "x");
}

TEST(OptionValues, NestedObjectsBecomeDottedKeys) {
  OptionValues values("-blockdev", R"({"cache":{"direct":true,"x":[1,2]},"size":5})", "");
  EXPECT_EQ(values.TakeBool("cache.direct"), true);
  EXPECT_EQ(values.TakeNumber("cache.x.1"), 2U);
  EXPECT_EQ(values.TakeSize("size", 1_MiB), 5_MiB);
}

TEST(OptionValues, SizesHaveUnits) {
  OptionValues values("-m", "size=524288k,maxmem=4G,slots=0x10,odd=7b", "size");
  EXPECT_EQ(values.TakeSize("size", 1_MiB), 512_MiB);
  EXPECT_EQ(values.TakeSize("maxmem", 1_MiB), 4_GiB);
  EXPECT_EQ(values.TakeNumber("slots"), 16U);
  EXPECT_EQ(values.TakeSize("odd", 1_MiB), Bytes(7));
}

TEST(OptionValues, WhatIsLeftIsRefusedByName) {
  const OptionValues values("-netdev", "user,id=n,nonsense=7", "type");
  EXPECT_THAT(ErrorOf([&] { values.Finish(); }), testing::StartsWith("-netdev: 'id=n' is not supported"));
}

TEST(OptionValues, WrongValuesNameTheKey) {
  using testing::HasSubstr;
  OptionValues values("-x", "n=12z,b=perhaps,s=1e9G,huge=99999999999G,e=", "");
  EXPECT_THAT(ErrorOf([&] { values.TakeNumber("n"); }), HasSubstr("'n' is '12z'"));
  EXPECT_THAT(ErrorOf([&] { values.TakeBool("b"); }), HasSubstr("'b' is 'perhaps'"));
  EXPECT_THAT(ErrorOf([&] { values.TakeSize("s", Bytes(1)); }), HasSubstr("not a size"));
  EXPECT_THAT(ErrorOf([&] { values.TakeSize("huge", Bytes(1)); }), HasSubstr("more than there can be"));
  EXPECT_THAT(ErrorOf([&] { values.Need("e"); }), HasSubstr("'e' is missing"));
  EXPECT_THAT(ErrorOf([&] { OptionValues("-x", "a=1,a=2", ""); }), HasSubstr("'a' is given twice"));
  EXPECT_THAT(ErrorOf([&] { OptionValues("-x", "=1", ""); }), HasSubstr("no name"));
  EXPECT_THAT(ErrorOf([&] { OptionValues("-x", "{\"a\":", ""); }), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf([&] { OptionValues("-x", R"({"a":)" + std::string(20, '[') + std::string(20, ']') + "}", ""); }),
              HasSubstr("nests deeper"));
}

}  // namespace
}  // namespace faultline
