/* Where every vCPU of the built-in guest starts, and the header the loader reads: RDI holds the vCPU's
   index, RSP the end of its own stack, and nothing else is set up. */

    .section .start, "ax"
    .globl _start
_start:
    jmp 1f
    .balign 8
    /* Guest-physical start and end of the zero-initialised data, at offset 8 of the image. */
    .quad guest_bss_start
    .quad guest_bss_end
1:
    xorl %ebp, %ebp
    cld
    /* The stack pointer is 16-byte aligned here, as a call wants it. */
    call GuestMain
2:
    pause
    jmp 2b

    .section .note.GNU-stack, "", @progbits
