/* What x86-64 has of its own, for the layers below a program. */

/* The entry: called by nobody, so that the stack is as the tender made it. */
#define ENTRY                                                                  \
    ".globl _start\n"                                                          \
    "_start:\n"                                                                \
    "    mov %rsp, %rsi\n"                                                     \
    "    jmp start\n"

/* Where the stack begins, below the end of memory. */
enum { STACK_GAP = 8 };

/* An instruction that returns, and its type. */
typedef u8 instruction;
#define RETURN 0xc3

/* System calls. */
enum {
    SYS_READ = 0,
    SYS_WRITE = 1,
    SYS_PREAD = 17,
    SYS_PWRITE = 18,
    SYS_CLOCK_GETTIME = 228,
    SYS_EXIT_GROUP = 231,
    SYS_EPOLL_PWAIT = 281,
    SYS_TIMERFD_SETTIME = 286,
};

struct __attribute__((packed)) epoll_event {
    u32 events;
    u64 data;
};

static inline i64 system_call(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    register u64 r10 __asm__("r10") = d;
    register u64 r8 __asm__("r8") = e;
    register u64 r9 __asm__("r9") = f;
    i64 result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
                       "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* Hypercalls: an OUT to a port. */
static inline void out(u16 port, u32 value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "d"(port) : "memory");
}

#define CALL_AT(number) (0x500 + (number))
#define OTHER_PLACE 0x80

static inline void halt_processor(void) { __asm__ volatile("hlt"); }

/* Of the clock that boot info has the frequency of. */
static inline u64 cycles(void)
{
    u32 low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}
