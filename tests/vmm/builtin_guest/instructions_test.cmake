# Disassembles the built-in guest (GUEST, with OBJDUMP) and fails on any instruction that does not run at CPL 3
# on every KVM: privileged ones, SSE and x87, system and hypervisor calls, and those that load segments.
# Works on the output of GNU and LLVM tools alike.
# Compiled code only: the start section has data between its few instructions.
execute_process(COMMAND ${OBJDUMP} -d -j .text --no-show-raw-insn ${GUEST} OUTPUT_VARIABLE listing RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "cannot disassemble ${GUEST}")
endif()
string(REGEX MATCHALL "\t(in|out)[bl]?[ \t][^\n]*" port_accesses "${listing}")
if(port_accesses STREQUAL "")
  message(FATAL_ERROR "no port access found in ${GUEST}: is this the guest, and can the pattern see instructions?")
endif()
string(REGEX MATCHALL
  "[^\n]*(%[xyz]mm|%st|%cr[0-9]|%dr[0-9]|, ?%[cdefgs]s[ \n]|pop[q]?[ \t]+%[defgs]s|\t(hlt|cli|sti|wrmsr|rdmsr|lgdt|lidt|lldt|ltr|sgdt|sidt|invlpg|wbinvd|syscall|sysenter|int|int3|vmcall|vmmcall|cpuid|iret|iretq|lret|popf|swapgs|xsave|xrstor|fxsave|cmpxchg16b|popcnt|ud2)[qlwb]?[ \t\n])[^\n]*"
  forbidden "${listing}")
if(forbidden)
  string(REPLACE ";" "\n" forbidden "${forbidden}")
  message(FATAL_ERROR "the built-in guest contains instructions it must not execute:\n${forbidden}")
endif()
