// What the guest's init can be told to do, one word of its arguments each: "NAME" or "NAME=VALUE".
//
// Each returns whether it worked, having printed one line "NAME: ok ..." or "NAME: FAILED ..." that a test waits for.
#pragma once

#include <stdint.h>

namespace guest {

// Writes and reads whole blocks of the disk at `path` past the page cache. The first MiB holds what the host put there,
// byte i being i * 7 + i / 256; the second MiB gets byte i * 11 + i / 256 + 1, flushed.
bool TestDisk(const char* path);
// DHCP on eth0, then an echo request to the gateway.
bool TestNetwork();
// Sends "hello from the guest" to a program on the host through the gateway and wants "hello from the host" back; TCP
// and UDP.
bool TestTcp(uint16_t port);
bool TestUdp(uint16_t port);
// Waits on TCP port `port` for a connection, through which it says what it hears, once.
bool TestListen(uint16_t port);
// Reads /dev/hwrng.
bool TestEntropy();
// Reads a line from the console and says it.
bool TestConsole();
// The same on the virtio console.
bool TestVirtioConsole();
// Writes `mebibytes` of memory and reads them back.
bool TestMemory(unsigned mebibytes);

}  // namespace guest
