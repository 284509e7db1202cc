/* What arm64 has of its own, for the layers below a program. */

/* The entry: called by nobody, so that the stack is as the tender made it. */
#define ENTRY                                                                  \
    ".globl _start\n"                                                          \
    "_start:\n"                                                                \
    "    mov x1, sp\n"                                                         \
    "    b start\n"

/* Where the stack begins, below the end of memory. */
enum { STACK_GAP = 16 };

/* An instruction that returns, and its type. */
typedef u32 instruction;
#define RETURN 0xd65f03c0

/* System calls. */
enum {
    SYS_READ = 63,
    SYS_WRITE = 64,
    SYS_PREAD = 67,
    SYS_PWRITE = 68,
    SYS_CLOCK_GETTIME = 113,
    SYS_EXIT_GROUP = 94,
    SYS_EPOLL_PWAIT = 22,
    SYS_TIMERFD_SETTIME = 86,
};

struct epoll_event {
    u32 events;
    u64 data;
};

static inline i64 system_call(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    register u64 x8 __asm__("x8") = number;
    register u64 x0 __asm__("x0") = a;
    register u64 x1 __asm__("x1") = b;
    register u64 x2 __asm__("x2") = c;
    register u64 x3 __asm__("x3") = d;
    register u64 x4 __asm__("x4") = e;
    register u64 x5 __asm__("x5") = f;

    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

/* Hypercalls: a store to an address behind all memory. */
static inline void out(u64 address, u32 value)
{
    __asm__ volatile("str %w0, [%1]" : : "r"(value), "r"(address) : "memory");
}

#define CALL_AT(number) (0x100000000 + 8UL * (number))
#define OTHER_PLACE 0x110000000

static inline void halt_processor(void) { __asm__ volatile("wfi"); }

/* Of the clock that boot info has the frequency of. */
static inline u64 cycles(void)
{
    u64 count;

    __asm__ volatile("isb\n mrs %0, cntvct_el0" : "=r"(count));
    return count;
}
