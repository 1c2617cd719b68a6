// The one exception type of set-up and control paths: it carries a sentence for the person at the
// terminal. The fault path never throws.
#pragma once

#include <stdexcept>
#include <string>
#include <system_error>

namespace faultline {

// `what()` is one sentence that names the thing that failed and the way out, without a trailing newline.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The request itself is wrong (a size, a name, an option): nothing was tried. The command line exits
// with 2 for these and with 1 for any other Error.
class UsageError : public Error {
 public:
  using Error::Error;
};

// "Cannot allocate memory" for ENOMEM and so on. Thread-safe, unlike strerror.
inline std::string ErrnoText(int error) { return std::generic_category().message(error); }

}  // namespace faultline
