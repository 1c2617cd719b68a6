// What firmware tells of this machine's fixed devices. Compiled by iasl when the program is built, embedded in
// it. Numbers that C++ knows too are named there: devices/acpi_power.h, vmm/machine/pc_layout.h.
DefinitionBlock ("dsdt.aml", "DSDT", 2, "FAULTL", "FAULTLIN", 1)
{
    // Of the table of memory slots, when there is one.
    External (\_SB.MHPC.SCAN, MethodObj)
    // Of the table of PCI slots, likewise.
    External (\_SB.PCI0.PSCN, MethodObj)

    // Soft off: written to the sleep control register of the FADT.
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
        // What woke the guest: one bit each, cleared by reading. AcpiPower::kEvents.
        OperationRegion (EVTR, SystemIO, 0x603, 1)
        Field (EVTR, ByteAcc, NoLock, Preserve) { EVTS, 8 }

        Device (PWRB)
        {
            Name (_HID, "PNP0C0C")
        }

        Device (GED)
        {
            Name (_HID, "ACPI0013")
            Name (_CRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive) { 9 }
            })
            Method (_EVT, 1, Serialized)
            {
                Local0 = EVTS
                If (Local0 & 1) { Notify (PWRB, 0x80) }
                If ((Local0 & 4) && CondRefOf (\_SB.PCI0.PSCN)) { \_SB.PCI0.PSCN () }
                If ((Local0 & 2) && CondRefOf (\_SB.MHPC.SCAN)) { \_SB.MHPC.SCAN () }
            }
        }

        Device (COM1)
        {
            Name (_HID, "PNP0501")
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x3F8, 0x3F8, 1, 8)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
            })
        }

        Device (RTC)
        {
            Name (_HID, "PNP0B00")
            Name (_CRS, ResourceTemplate () { IO (Decode16, 0x70, 0x70, 1, 2) })
        }

        // PCI: the root bus and one behind each root port. One interrupt pin for each slot, wired to four lines: IntxRouter.
        Device (PCI0)
        {
            Name (_HID, "PNP0A08")
            Name (_CID, "PNP0A03")
            Name (_BBN, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0x1F, 0, 0x20)
                IO (Decode16, 0xCF8, 0xCF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0, 0xC0000000,
                             0xDFFFFFFF, 0, 0x20000000)
            })
            Name (_PRT, Package ()
            {
                Package () { 0x0001FFFF, 0, 0, 17 },
                Package () { 0x0002FFFF, 0, 0, 18 },
                Package () { 0x0003FFFF, 0, 0, 19 },
                Package () { 0x0004FFFF, 0, 0, 16 },
                Package () { 0x0005FFFF, 0, 0, 17 },
                Package () { 0x0006FFFF, 0, 0, 18 },
                Package () { 0x0007FFFF, 0, 0, 19 },
                Package () { 0x0008FFFF, 0, 0, 16 },
                Package () { 0x0009FFFF, 0, 0, 17 },
                Package () { 0x000AFFFF, 0, 0, 18 },
                Package () { 0x000BFFFF, 0, 0, 19 },
                Package () { 0x000CFFFF, 0, 0, 16 },
                Package () { 0x000DFFFF, 0, 0, 17 },
                Package () { 0x000EFFFF, 0, 0, 18 },
                Package () { 0x000FFFFF, 0, 0, 19 },
                Package () { 0x0010FFFF, 0, 0, 16 },
                Package () { 0x0011FFFF, 0, 0, 17 },
                Package () { 0x0012FFFF, 0, 0, 18 },
                Package () { 0x0013FFFF, 0, 0, 19 },
                Package () { 0x0014FFFF, 0, 0, 16 },
                Package () { 0x0015FFFF, 0, 0, 17 },
                Package () { 0x0016FFFF, 0, 0, 18 },
                Package () { 0x0017FFFF, 0, 0, 19 },
                Package () { 0x0018FFFF, 0, 0, 16 },
                Package () { 0x0019FFFF, 0, 0, 17 },
                Package () { 0x001AFFFF, 0, 0, 18 },
                Package () { 0x001BFFFF, 0, 0, 19 },
                Package () { 0x001CFFFF, 0, 0, 16 },
                Package () { 0x001DFFFF, 0, 0, 17 },
                Package () { 0x001EFFFF, 0, 0, 18 },
                Package () { 0x001FFFFF, 0, 0, 19 },
            })
        }

        // The configuration space that the MCFG table tells of.
        Device (ECAM)
        {
            Name (_HID, "PNP0C02")
            Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadWrite, 0xE0000000, 0x02000000) })
        }

        // The panic port.
        Device (PEVT)
        {
            Name (_HID, "QEMU0001")
            Name (_CRS, ResourceTemplate () { IO (Decode16, 0x505, 0x505, 1, 1) })
            Name (_STA, 0xF)
        }
    }
}
