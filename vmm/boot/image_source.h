// Where a loader reads a kernel or an initrd from.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <type_traits>

#include "guestmem/host.h"
#include "guestmem/types.h"

namespace faultline {

class ImageSource {
 public:
  // `name` is how messages call it: "the kernel '/boot/vmlinuz'".
  explicit ImageSource(std::string name) : name_(std::move(name)) {}
  virtual ~ImageSource() = default;
  ImageSource(const ImageSource&) = delete;
  ImageSource& operator=(const ImageSource&) = delete;

  const std::string& name() const { return name_; }
  virtual Bytes size() const = 0;
  // Fills all of `out`. Throws Error when the image ends before that or cannot be read.
  virtual void Read(Bytes offset, std::span<std::byte> out) const = 0;

  // A value of the image's own layout (little-endian); throws as Read does.
  template <class T>
  T ReadValue(Bytes offset) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    Read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

 protected:
  [[noreturn]] void ThrowTruncated() const;

 private:
  std::string name_;
};

class FileImage final : public ImageSource {
 public:
  // `kind` is "kernel", "initrd" or the like. Throws Error when `path` is no regular file that can be read, or empty.
  FileImage(Host& host, const std::string& kind, const std::string& path);

  Bytes size() const override { return size_; }
  void Read(Bytes offset, std::span<std::byte> out) const override;

 private:
  Host& host_;
  FileDescriptor fd_;
  Bytes size_;
};

// Bytes that somebody else keeps, for tests.
class MemoryImage final : public ImageSource {
 public:
  MemoryImage(std::string name, std::span<const std::byte> bytes) : ImageSource(std::move(name)), bytes_(bytes) {}

  Bytes size() const override { return Bytes(bytes_.size()); }
  void Read(Bytes offset, std::span<std::byte> out) const override;

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace faultline
