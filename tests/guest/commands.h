// What the guest's init can be told to do, one word of its arguments each: "NAME" or "NAME=VALUE".
//
// Each returns whether it worked, having printed one line that a test waits for: the one given here, or
// "NAME: FAILED to ..., error N". Init itself prints "faultline init: running on Linux RELEASE, CPUs LIST, memory N kB"
// first, and "faultline init: done" or "faultline init: done, with failures" after the last command.
// "shell": reads commands from the console, one a line, until the line "exit"; each gets a line
// "shell: done" or "shell: FAILED" after its own, and "shell: ready" asks for each.
// Further commands: "sleep=MILLISECONDS", "poweroff", "reboot", "panic"; none prints anything. "stay": until the power
// button is pressed, and then the guest is powered off; "stay: until the power button is pressed".
#pragma once

#include <stdint.h>

namespace guest {

// "disk=PATH": reads the first MiB, which the host filled (byte i is i * 7 + i / 256), writes the second (byte i is
// i * 11 + i / 256 + 1, i from 0), flushes and reads it back, all past the page cache.
// "disk: ok, 1 MiB verified, 1 MiB written and flushed"
bool TestDisk(const char* path);
// "net": DHCP on eth0, then an echo request to the gateway.
// "net: ok, address 10.0.2.15, gateway 10.0.2.2 answers"
bool TestNetwork();
// "tcp=PORT", "udp=PORT": sends "hello from the guest" to the host through the gateway's address and wants "hello from
// the host" back. "tcp: ok", "udp: ok"
bool TestTcp(uint16_t port);
bool TestUdp(uint16_t port);
// "listen=PORT": waits for a TCP connection and sends back the first thing it hears.
// "listen: ready", then "listen: ok"
bool TestListen(uint16_t port);
// "rng": reads 32 bytes of /dev/hwrng. "rng: ok HEX"
bool TestEntropy();
// "console": reads a line from the console. "console: type a line", then "console: ok, read 'LINE'"
bool TestConsole();
// "hvc": the same on the virtio console, which gets "hvc: type a line" and "hvc: read 'LINE'"; the console gets
// "hvc: ok, read 'LINE'".
bool TestVirtioConsole();
// Returns once the power button is pressed; false, and at once, where the kernel does not tell of it.
bool WaitForPowerButton();
// "touch=MEBIBYTES": writes that much memory and reads it back. "touch: ok, 64 MiB"
bool TestMemory(unsigned mebibytes);

// "memory": "memory: MemTotal 500000 kB, MemFree 400000 kB"
bool ShowMemory();
// "keep=MEBIBYTES": the same as "touch", but the memory stays filled; one at a time. "keep: ok, 64 MiB"
bool KeepMemory(unsigned mebibytes);
// "check": reads what "keep" wrote, and lets go of it. "check: ok, 64 MiB"
bool CheckKeptMemory();
// "storm=MEBIBYTES": keeps that much memory filled, and again and again verifies all of it, changes all of it, and uses
// some fresh memory, which has to be zero; until a line is typed. "storm: running", then "storm: ok, 120 rounds"
bool StormMemory(unsigned mebibytes);
// "pin=NODE": makes the kernel use unmovable memory of that NUMA node, until "unpin".
// "pin: ok, 16 pages"; "unpin" wants to find in them what was written: "unpin: ok"
bool PinMemory(unsigned node);
bool UnpinMemory();
// "online=WAY": what becomes of memory that is plugged later: "online_movable", "online_kernel", "offline".
// "online: ok"
bool SetOnlining(const char* way);

}  // namespace guest
