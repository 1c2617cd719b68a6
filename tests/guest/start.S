# Entry of the guest's init and its ways into the kernel. 32-bit code, for 64-bit kernels with IA32_EMULATION.
    .code32
    .section .text
    .globl _start
_start:
    xorl %ebp, %ebp
    movl %esp, %eax        # argc, argv and the environment
    andl $-16, %esp
    subl $12, %esp
    pushl %eax
    call init_main
1:  jmp 1b

# int system_call_*(number, a, b, c, d, e, f), the C calling convention; the kernel's: eax, ebx, ecx, edx, esi, edi, ebp.
    .macro load_arguments
    pushl %ebx
    pushl %esi
    pushl %edi
    pushl %ebp
    movl 20(%esp), %eax
    movl 24(%esp), %ebx
    movl 28(%esp), %ecx
    movl 32(%esp), %edx
    movl 36(%esp), %esi
    movl 40(%esp), %edi
    movl 44(%esp), %ebp
    .endm
    .macro leave_function
    popl %ebp
    popl %edi
    popl %esi
    popl %ebx
    ret
    .endm

# The ordinary way.
    .globl system_call_int80
system_call_int80:
    load_arguments
    int $0x80
    leave_function

# On software KVM int $0x80 and syscall do not reach the kernel. sysenter does, but its return, at the vDSO's landing
# pad (pop ebp; pop edx; pop ecx; ret), runs in 64-bit mode: so everything the pad pops is 8 bytes wide, and what it
# returns to is 64-bit code, which goes back to 32-bit mode by a far return.
    .globl system_call_sysenter
system_call_sysenter:
    load_arguments
    pushl $0
    pushl $in_64_bit_mode
    pushl $0
    pushl %ecx
    pushl $0
    pushl %edx
    pushl $0
    pushl %ebp             # the sixth argument, which the kernel reads from here
    movl %esp, %ebp
    sysenter

    .code64
in_64_bit_mode:
    pushq $0x23            # Linux's __USER32_CS
    .byte 0x68             # pushq $back_in_32_bit_mode, which 32-bit objects have no relocation for
    .long back_in_32_bit_mode
    lretq

    .code32
back_in_32_bit_mode:
    leave_function

    .section .note.GNU-stack, "", @progbits
