// DHCP, ping, TCP and UDP through eth0 with nothing but sockets.
#include "commands.h"
#include "system.h"

namespace guest {
namespace {

constexpr int kInet = 2, kStream = 1, kDatagram = 2, kRaw = 3;
constexpr int kSocketLevel = 1, kReuseAddress = 2, kBroadcast = 6, kBindToDevice = 25;
constexpr int kIcmp = 1;
constexpr int kPatience = 20000;  // ms: on software KVM each packet takes a while

constexpr uint16_t Net16(uint16_t v) { return static_cast<uint16_t>(v << 8 | v >> 8); }

struct Address {
  uint16_t family = kInet;
  uint16_t port = 0;  // network order, as the next
  uint32_t ip = 0;
  uint8_t zero[8] = {};
};

// struct ifreq.
struct InterfaceRequest {
  char name[16] = "eth0";
  union {
    Address address;
    uint16_t flags;
    uint8_t hardware[16];
  };
  InterfaceRequest() : address() {}
};
constexpr int kGetFlags = 0x8913, kSetFlags = 0x8914, kSetAddress = 0x8916, kSetNetmask = 0x891c, kGetHardware = 0x8927,
              kAddRoute = 0x890b;
constexpr uint16_t kUp = 1;

// struct rtentry.
struct Route {
  uint32_t pad1 = 0;
  Address destination;
  Address gateway;
  Address mask;
  uint16_t flags = 3;  // up, through a gateway
  uint16_t pad2 = 0;
  uint32_t pad3[2] = {};
  uint16_t metric = 0;
  const char* device = "eth0";
  uint32_t more[3] = {};
};

// RFC 2131 §2, with options as RFC 2132 has them.
struct [[gnu::packed]] DhcpMessage {
  uint8_t operation = 1;
  uint8_t hardware_type = 1;
  uint8_t hardware_length = 6;
  uint8_t hops = 0;
  uint32_t transaction = 0x4c544c46;
  uint16_t seconds = 0;
  uint16_t flags = Net16(0x8000);  // answer by broadcast: there is no address yet
  uint32_t client = 0;
  uint32_t yours = 0;
  uint32_t server = 0;
  uint32_t relay = 0;
  uint8_t hardware[16] = {};
  uint8_t names[192] = {};
  uint8_t magic[4] = {99, 130, 83, 99};
  uint8_t options[312] = {};
};
constexpr uint8_t kDiscover = 1, kOffer = 2, kRequest = 3, kAck = 5;

struct Lease {
  uint32_t address = 0;
  uint32_t server = 0;
  uint32_t mask = Net16(0xffff);
  uint32_t gateway = 0x0202000a;  // 10.0.2.2, where user networking has it
};
Lease lease;

bool Complain(const char* command, const char* what, int error) {
  Print(command);
  Print(": FAILED to ");
  Print(what);
  Print(", error ");
  PrintNumber(static_cast<unsigned long>(-error));
  Print("\n");
  return false;
}

int Socket(int type, int protocol) { return SystemCall(nr::kSocket, kInet, type, protocol); }
int SetOption(int fd, int name, const void* value, size_t size) {
  return SystemCall(nr::kSetsockopt, fd, kSocketLevel, name, Word(value), static_cast<long>(size));
}
int SendTo(int fd, const void* data, size_t size, const Address& to) {
  return SystemCall(nr::kSendto, fd, Word(data), static_cast<long>(size), 0, Word(&to), sizeof(to));
}
int Receive(int fd, void* out, size_t size) {
  if (!WaitReadable(fd, kPatience)) return -110;  // ETIMEDOUT
  return SystemCall(nr::kRecvfrom, fd, Word(out), static_cast<long>(size), 0, 0, 0);
}

uint32_t WordIn(const uint8_t* bytes) {
  uint32_t word;
  memcpy(&word, bytes, sizeof(word));
  return word;
}

// The message type; the lease gets what the other options say.
uint8_t ReadOptions(const DhcpMessage& message) {
  uint8_t type = 0;
  for (size_t at = 0; at + 2 < sizeof(message.options) && message.options[at] != 255;) {
    const uint8_t option = message.options[at];
    if (option == 0) {
      ++at;
      continue;
    }
    const uint8_t length = message.options[at + 1];
    const uint8_t* value = message.options + at + 2;
    if (at + 2 + length > sizeof(message.options)) break;
    if (option == 53) type = value[0];
    if (option == 1) lease.mask = WordIn(value);
    if (option == 3) lease.gateway = WordIn(value);
    if (option == 54) lease.server = WordIn(value);
    at += 2U + length;
  }
  return type;
}

int AskDhcp(int fd, const uint8_t* hardware, uint8_t type, uint8_t wanted) {
  DhcpMessage ask;
  memcpy(ask.hardware, hardware, 6);
  size_t at = 0;
  const auto add = [&](uint8_t option, const void* value, uint8_t length) {
    ask.options[at++] = option;
    ask.options[at++] = length;
    memcpy(ask.options + at, value, length);
    at += length;
  };
  add(53, &type, 1);
  if (type == kRequest) {
    add(50, &lease.address, 4);
    add(54, &lease.server, 4);
  }
  ask.options[at] = 255;
  Address everybody;
  everybody.port = Net16(67);
  everybody.ip = 0xffffffff;
  if (const int rc = SendTo(fd, &ask, sizeof(ask), everybody); rc < 0) return rc;
  for (int i = 0; i < 10; ++i) {
    DhcpMessage answer;
    const int got = Receive(fd, &answer, sizeof(answer));
    if (got < 0) return got;
    if (answer.operation != 2 || answer.transaction != ask.transaction || ReadOptions(answer) != wanted) continue;
    lease.address = answer.yours;
    return 0;
  }
  return -71;  // EPROTO
}

int Control(int fd, int what, const void* argument) { return SystemCall(nr::kIoctl, fd, what, Word(argument)); }

bool Configure(int fd) {
  InterfaceRequest request;
  int rc = Control(fd, kGetFlags, &request);
  if (rc < 0) return Complain("net", "find eth0", rc);
  request.flags = static_cast<uint16_t>(request.flags | kUp);
  rc = Control(fd, kSetFlags, &request);
  if (rc < 0) return Complain("net", "bring eth0 up", rc);
  rc = Control(fd, kGetHardware, &request);
  if (rc < 0) return Complain("net", "learn the hardware address", rc);
  uint8_t hardware[6];
  memcpy(hardware, request.hardware + 2, sizeof(hardware));

  const int on = 1;
  SetOption(fd, kReuseAddress, &on, sizeof(on));
  SetOption(fd, kBroadcast, &on, sizeof(on));
  SetOption(fd, kBindToDevice, "eth0", 5);
  Address client;
  client.port = Net16(68);
  rc = SystemCall(nr::kBind, fd, Word(&client), sizeof(client));
  if (rc < 0) return Complain("net", "bind the DHCP port", rc);
  rc = AskDhcp(fd, hardware, kDiscover, kOffer);
  if (rc < 0) return Complain("net", "get a DHCP offer", rc);
  rc = AskDhcp(fd, hardware, kRequest, kAck);
  if (rc < 0) return Complain("net", "get a DHCP lease", rc);

  InterfaceRequest address;
  address.address.ip = lease.address;
  rc = Control(fd, kSetAddress, &address);
  if (rc < 0) return Complain("net", "set the address", rc);
  address.address.ip = lease.mask;
  rc = Control(fd, kSetNetmask, &address);
  if (rc < 0) return Complain("net", "set the network mask", rc);
  Route route;
  route.gateway.ip = lease.gateway;
  rc = Control(fd, kAddRoute, &route);
  if (rc < 0) return Complain("net", "set the route", rc);
  return true;
}

uint16_t Checksum(const uint8_t* bytes, size_t size) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < size; i += 2) sum += static_cast<uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~(sum + (sum >> 16)));
}

bool Ping() {
  const int fd = Socket(kRaw, kIcmp);
  if (fd < 0) return Complain("net", "open a raw socket", fd);
  uint8_t echo[40] = {8, 0, 0, 0, 'F', 'L', 0, 1};
  for (uint8_t i = 8; i < sizeof(echo); ++i) echo[i] = i;
  const uint16_t sum = Checksum(echo, sizeof(echo));
  echo[2] = static_cast<uint8_t>(sum >> 8);
  echo[3] = static_cast<uint8_t>(sum);
  Address gateway;
  gateway.ip = lease.gateway;
  int rc = SendTo(fd, echo, sizeof(echo), gateway);
  uint8_t packet[128];
  bool answered = false;
  while (rc >= 0 && !answered) {
    rc = Receive(fd, packet, sizeof(packet));
    // 20 bytes of IP header come first.
    answered = rc == 20 + static_cast<int>(sizeof(echo)) && packet[20] == 0 && memcmp(packet + 24, echo + 4, 36) == 0;
  }
  Close(fd);
  return answered || Complain("net", "get an echo from the gateway", rc);
}

constexpr char kHello[] = "hello from the guest";
constexpr char kAnswer[] = "hello from the host";

bool Exchange(const char* command, int fd, uint16_t port) {
  if (fd < 0) return Complain(command, "open a socket", fd);
  Address host;
  host.ip = lease.gateway;
  host.port = Net16(port);
  int rc = SystemCall(nr::kConnect, fd, Word(&host), sizeof(host));
  if (rc < 0) return Complain(command, "connect", rc);
  rc = Write(fd, kHello, sizeof(kHello) - 1);
  if (rc < 0) return Complain(command, "send", rc);
  char answer[64];
  rc = Receive(fd, answer, sizeof(answer));
  if (rc < 0) return Complain(command, "receive", rc);
  if (rc != sizeof(kAnswer) - 1 || memcmp(answer, kAnswer, sizeof(kAnswer) - 1) != 0) {
    return Complain(command, "receive the right answer", 0);
  }
  Print(command);
  Print(": ok\n");
  return true;
}

}  // namespace

bool TestNetwork() {
  const int fd = Socket(kDatagram, 0);
  if (fd < 0) return Complain("net", "open a socket", fd);
  const bool configured = Configure(fd);
  Close(fd);
  if (!configured || !Ping()) return false;
  Print("net: ok, address ");
  PrintAddress(lease.address);
  Print(", gateway ");
  PrintAddress(lease.gateway);
  Print(" answers\n");
  return true;
}

bool TestTcp(uint16_t port) {
  const int fd = Socket(kStream, 0);
  const bool worked = Exchange("tcp", fd, port);
  if (fd >= 0) Close(fd);
  return worked;
}

bool TestUdp(uint16_t port) {
  const int fd = Socket(kDatagram, 0);
  const bool worked = Exchange("udp", fd, port);
  if (fd >= 0) Close(fd);
  return worked;
}

bool TestListen(uint16_t port) {
  const int fd = Socket(kStream, 0);
  if (fd < 0) return Complain("listen", "open a socket", fd);
  Address any;
  any.port = Net16(port);
  int rc = SystemCall(nr::kBind, fd, Word(&any), sizeof(any));
  if (rc >= 0) rc = SystemCall(nr::kListen, fd, 1);
  if (rc < 0) return Complain("listen", "take the port", rc);
  Print("listen: ready\n");
  const int connection = SystemCall(nr::kAccept4, fd, 0, 0, 0);
  if (connection < 0) return Complain("listen", "accept", connection);
  char text[64];
  rc = Receive(connection, text, sizeof(text));
  if (rc > 0) rc = Write(connection, text, static_cast<size_t>(rc));
  Close(connection);
  Close(fd);
  if (rc <= 0) return Complain("listen", "answer", rc);
  Print("listen: ok\n");
  return true;
}

}  // namespace guest
