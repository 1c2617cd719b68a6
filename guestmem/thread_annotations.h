// Clang's thread-safety annotations; they vanish under other compilers.
// Source: https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#if defined(__clang__)
#define FAULTLINE_TSA(x) __attribute__((x))
#else
#define FAULTLINE_TSA(x)
#endif

#define CAPABILITY(x) FAULTLINE_TSA(capability(x))
#define SCOPED_CAPABILITY FAULTLINE_TSA(scoped_lockable)
#define GUARDED_BY(x) FAULTLINE_TSA(guarded_by(x))
#define PT_GUARDED_BY(x) FAULTLINE_TSA(pt_guarded_by(x))
#define REQUIRES(...) FAULTLINE_TSA(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) FAULTLINE_TSA(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) FAULTLINE_TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...) FAULTLINE_TSA(release_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) FAULTLINE_TSA(try_acquire_capability(__VA_ARGS__))
#define ASSERT_CAPABILITY(x) FAULTLINE_TSA(assert_capability(x))
#define RETURN_CAPABILITY(x) FAULTLINE_TSA(lock_returned(x))
#define NO_THREAD_SAFETY_ANALYSIS FAULTLINE_TSA(no_thread_safety_analysis)
