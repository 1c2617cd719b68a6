#include "vmm/domain_xml/console_elements.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace faultline {
namespace {

// What `faultline run --console` calls it.
std::string TakeCharacterDevice(Element* device) {
  const std::string type = device->NeedAttribute("type");
  auto source = device->TakeChild("source");
  if (type == "unix") {
    if (!source) device->Refuse("<source mode='bind' path='...'/> is missing");
    source->Accept("mode", "bind", "write 'bind'");
    std::string path = source->NeedAttribute("path");
    source->Finish();
    return "socket:" + path;
  }
  // Which pseudo-terminal it was: what libvirt writes of a domain that runs.
  if (source) source->Ignore({"path"});
  device->Ignore({"tty"});
  if (source) source->Finish();
  if (type == "pty" || type == "stdio") return type;
  if (type == "null") return "none";
  device->Refuse("type='" + type.substr(0, 40) + "' is not supported; write 'pty', 'unix', 'stdio' or 'null'");
}

void TakeSerial(Element serial, Domain* domain) {
  domain->console = TakeCharacterDevice(&serial);
  if (auto target = serial.TakeChild("target")) {
    target->Accept("type", "isa-serial", "write 'isa-serial'");
    if (target->TakeNumber("port").value_or(0) != 0) target->Refuse("there is port 0 alone");
    if (auto model = target->TakeChild("model")) {
      model->Accept("name", "isa-serial", "write 'isa-serial'");
      model->Finish();
    }
    target->Finish();
  }
  serial.Ignore({"address", "alias"});
  serial.Finish();
}

// The first of type 'serial' is the serial port once more, as libvirt writes it; a virtio console prints where that
// does.
void TakeConsole(Element console, bool has_serial, Domain* domain) {
  auto target = console.TakeChild("target");
  const std::string type = target ? target->TakeAttribute("type").value_or("serial") : "serial";
  const std::string where = TakeCharacterDevice(&console);
  if (type == "virtio") {
    if (domain->machine.devices.console) console.Refuse("there is one virtio console at most; remove the others");
    if (has_serial && where != "pty" && where != "none" && where != domain->console) {
      console.Refuse("both consoles are one place to the host; write type='pty', or what <serial> has");
    }
    domain->machine.devices.console = true;
    if (!has_serial) domain->console = where;
  } else if (type != "serial") {
    target->Refuse("type='" + type.substr(0, 40) + "' is not supported; write 'serial' or 'virtio'");
  } else if (has_serial && where != domain->console) {
    console.Refuse("it is the serial port once more; write what <serial> has, or remove the element");
  } else {
    domain->console = where;
  }
  if (target) {
    target->Ignore({"port"});
    target->Finish();
  }
  console.Ignore({"address", "alias"});
  console.Finish();
}

}  // namespace

void TakeConsoles(Element* devices, Domain* domain) {
  std::vector<Element> serials = devices->TakeChildren("serial");
  if (serials.size() > 1) serials[1].Refuse("there is one serial port; remove the others");
  bool has_serial = !serials.empty();
  for (Element& serial : serials) TakeSerial(std::move(serial), domain);
  for (Element& console : devices->TakeChildren("console")) {
    TakeConsole(std::move(console), has_serial, domain);
    has_serial = true;
  }
}

}  // namespace faultline
