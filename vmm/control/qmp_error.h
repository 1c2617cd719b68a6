// An error that a QMP client is told about.
// Source: QEMU docs/interop/qmp-spec, "Command error responses".
#pragma once

#include <string>
#include <utility>

#include "guestmem/error.h"

namespace faultline {

// Thrown by command handlers. `error_class` is one of QEMU's: GenericError, CommandNotFound,
// DeviceNotFound, DeviceNotActive, KVMMissingCap.
class QmpError : public Error {
 public:
  explicit QmpError(const std::string& desc) : Error(desc), class_("GenericError") {}
  QmpError(std::string error_class, const std::string& desc) : Error(desc), class_(std::move(error_class)) {}

  const std::string& error_class() const { return class_; }

 private:
  std::string class_;
};

}  // namespace faultline
