#include "vmm/domain_xml/document.h"

#include <string>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr char kWhatToGive[] = "give what `faultline xml` or `virsh dumpxml` prints";

// Removing a subtree takes stack for each level of it.
bool IsTooDeep(pugi::xml_node root) {
  unsigned depth = 1;
  for (pugi::xml_node node = root; node;) {
    if (depth > kMostXmlDepth) return true;
    if (node.first_child()) {
      node = node.first_child();
      ++depth;
      continue;
    }
    while (node != root && !node.next_sibling()) {
      node = node.parent();
      --depth;
    }
    if (node == root) break;
    node = node.next_sibling();
  }
  return false;
}

}  // namespace

pugi::xml_node ParseDocument(std::string_view xml, pugi::xml_document* document) {
  if (xml.size() > kMostXmlBytes) {
    throw UsageError("the domain has more than " + std::to_string(kMostXmlBytes) + " bytes: " + kWhatToGive);
  }
  if (const size_t zero = xml.find('\0'); zero != std::string_view::npos) {
    throw UsageError("the domain is no XML in UTF-8, by byte " + std::to_string(zero) + ": " + kWhatToGive);
  }
  const pugi::xml_parse_result parsed =
      document->load_buffer(xml.data(), xml.size(), pugi::parse_default | pugi::parse_doctype, pugi::encoding_utf8);
  if (!parsed) {
    throw UsageError("the domain is no XML, by byte " + std::to_string(parsed.offset) + " (" + parsed.description() +
                     "): " + kWhatToGive);
  }
  for (const pugi::xml_node node : document->children()) {
    if (node.type() == pugi::node_doctype) {
      throw UsageError("the domain begins with a DOCTYPE, which no domain needs: remove it");
    }
  }
  const pugi::xml_node root = document->document_element();
  if (std::string_view(root.name()) != "domain") {
    throw UsageError("<" + std::string(root.name()).substr(0, 60) + "> is no domain: " + kWhatToGive);
  }
  if (root.next_sibling() || root.previous_sibling()) {
    throw UsageError("there is more than one element beside <domain>: give one domain");
  }
  if (IsTooDeep(root)) {
    throw UsageError("the domain's elements are more than " + std::to_string(kMostXmlDepth) +
                     " deep in each other: " + kWhatToGive);
  }
  return root;
}

}  // namespace faultline
