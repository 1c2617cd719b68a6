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

    .macro enter_function  # the arguments start at 20(%esp)
    pushl %ebx
    pushl %esi
    pushl %edi
    pushl %ebp
    .endm
    .macro leave_function
    popl %ebp
    popl %edi
    popl %esi
    popl %ebx
    ret
    .endm

# int system_call_*(number, a, b, c, d, e, f), the C calling convention; the kernel's: eax, ebx, ecx, edx, esi, edi, ebp.
    .macro load_arguments
    enter_function
    movl 20(%esp), %eax
    movl 24(%esp), %ebx
    movl 28(%esp), %ecx
    movl 32(%esp), %edx
    movl 36(%esp), %esi
    movl 40(%esp), %edi
    movl 44(%esp), %ebp
    .endm

# The ordinary way.
    .globl system_call_int80
system_call_int80:
    load_arguments
    int $0x80
    leave_function

# On software KVM int $0x80 and syscall do not reach the kernel. sysenter does, but its return, at the vDSO's landing
# pad (pop ebp; pop edx; pop ecx; ret), runs in 64-bit mode, until an interrupt comes: the return from that takes the
# code segment at its word and goes on in 32-bit mode. So the pad's pops are 4 or 8 bytes wide, and the change may come
# between any two of them. Whatever it finds, it returns to the same place, which runs in either mode. Init has one
# thread: its stack pointer is kept in memory.
    .globl system_call_sysenter
system_call_sysenter:
    load_arguments
    movl %esp, stack_pointer
    pushl $0               # 64-bit: the upper half of the return address
    pushl $in_either_mode
    pushl $in_either_mode
    pushl $in_either_mode
    pushl $in_either_mode
    pushl $0
    pushl $0
    pushl %ebp             # the sixth argument, which the kernel reads from here
    movl %esp, %ebp
    sysenter

in_either_mode:
    xorl %ecx, %ecx
    decl %ecx              # 64-bit: a prefix of the next instruction, which then changes r8 alone
    movl %eax, %eax
    testl %ecx, %ecx
    js back_in_32_bit_mode

    .code64
    pushq $0x23            # Linux's __USER32_CS
    .byte 0x68             # pushq $back_in_32_bit_mode, which 32-bit objects have no relocation for
    .long back_in_32_bit_mode
    lretq

    .code32
back_in_32_bit_mode:
    # AMD's processors leave a stack segment behind that is of no use in 32-bit mode.
    movl $0x2b, %ecx       # __USER_DS
    movl %ecx, %ss
    movl stack_pointer, %esp
    leave_function

    .bss
    .balign 4
stack_pointer:
    .long 0
    .text

# Loops over much memory, in 64-bit mode, which runs natively on software KVM; 32-bit code is interpreted there.
# uint32_t run_native(function, base, count, multiplier, addend): calls one of the functions below with edi, ecx, esi, edx
# and returns its eax.
    .globl run_native
run_native:
    enter_function
    movl 20(%esp), %eax
    movl 24(%esp), %edi
    movl 28(%esp), %ecx
    movl 32(%esp), %esi
    movl 36(%esp), %edx
    pushl $0x23            # Linux's __USER32_CS
    pushl $back_from_native
    pushl $0x33            # __USER_CS, 64-bit
    pushl %eax
    lret
back_from_native:
    leave_function

    .code64
    .macro pattern_byte    # al = r8d * esi + r8d / 256 + edx
    movl %r8d, %eax
    imull %esi, %eax
    movl %r8d, %r9d
    shrl $8, %r9d
    addl %r9d, %eax
    addl %edx, %eax
    .endm

# Each returns how many bytes or words were as they should be: `count` when all were.
    .globl native_fill_bytes
native_fill_bytes:
    movl %edi, %edi
    xorl %r8d, %r8d
1:  pattern_byte
    movb %al, (%rdi, %r8)
    incl %r8d
    cmpl %ecx, %r8d
    jb 1b
    movl %r8d, %eax
    lretl

    .globl native_check_bytes
native_check_bytes:
    movl %edi, %edi
    xorl %r8d, %r8d
1:  pattern_byte
    cmpb %al, (%rdi, %r8)
    jne 2f
    incl %r8d
    cmpl %ecx, %r8d
    jb 1b
2:  movl %r8d, %eax
    lretl

# Words that are zero get i * esi + edx.
    .globl native_fill_words
native_fill_words:
    movl %edi, %edi
    xorl %r8d, %r8d
    movl %edx, %eax
1:  cmpl $0, (%rdi, %r8, 4)
    jne 2f
    movl %eax, (%rdi, %r8, 4)
    addl %esi, %eax
    incl %r8d
    cmpl %ecx, %r8d
    jb 1b
2:  movl %r8d, %eax
    lretl

    .globl native_check_words
native_check_words:
    movl %edi, %edi
    xorl %r8d, %r8d
    movl %edx, %eax
1:  cmpl %eax, (%rdi, %r8, 4)
    jne 2f
    addl %esi, %eax
    incl %r8d
    cmpl %ecx, %r8d
    jb 1b
2:  movl %r8d, %eax
    lretl

# Words that are i * esi + edx get the complement, which is i * -esi + ~edx.
    .globl native_turn_words
native_turn_words:
    movl %edi, %edi
    xorl %r8d, %r8d
    movl %edx, %eax
1:  movl (%rdi, %r8, 4), %r9d
    cmpl %eax, %r9d
    jne 2f
    notl %r9d
    movl %r9d, (%rdi, %r8, 4)
    addl %esi, %eax
    incl %r8d
    cmpl %ecx, %r8d
    jb 1b
2:  movl %r8d, %eax
    lretl
    .code32

    .section .note.GNU-stack, "", @progbits
