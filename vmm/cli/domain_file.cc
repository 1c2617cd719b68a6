#include "vmm/cli/domain_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "guestmem/error.h"
#include "guestmem/host.h"
#include "vmm/domain_xml/document.h"

namespace faultline {
namespace {

// One byte more than a domain may have is enough to see that it is too long.
std::string ReadSome(const std::string& path) {
  const auto fail = [&path](int error) {
    throw Error(path + " cannot be read (" + ErrnoText(error) + "): give a file that holds a domain XML");
  };
  const FileDescriptor file(Host::System(), open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) fail(errno);
  std::string text;
  std::array<char, 65536> piece;
  while (text.size() <= kMostXmlBytes) {
    const ssize_t n = read(file.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(errno);
    if (n == 0) break;
    text.append(piece.data(), static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

Domain ReadDomainFile(const std::string& path) {
  const std::string text = ReadSome(path);
  try {
    return ReadDomain(text);
  } catch (const UsageError& e) {
    throw UsageError(path + ": " + e.what());
  }
}

}  // namespace faultline
