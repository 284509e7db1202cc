/* The spt layer: the guest is an ordinary process and speaks to Linux itself,
 * with the few system calls that the tender left it. */
#include "guest.h"

/* What the event of the timer carries; that of a network has its handle. */
#define TIMER_EVENT 0xfffffffeUL

/* The exit status of a guest whose tender mixed these up. */
#define UNEXPECTED_EVENT 70

__attribute__((section(".note.solo5.abi"), aligned(4), used)) static const struct {
    u32 owner_size, size, type;
    char owner[8];
    u32 target, version, reserved[2];
} abi_note = {6, 16, 0x31494241, "Solo5", 2, 2, {0, 0}};

struct boot_info {
    u64 memory;
    u64 image_end;
    const char *command_line;
    struct manifest *manifest;
    int epoll;
    int timer;
};

static const struct boot_info *info;

void target_start(const void *boot_info, struct boot *boot)
{
    info = boot_info;
    boot->memory = info->memory;
    boot->image_end = info->image_end;
    boot->command_line = info->command_line;
    boot->manifest = info->manifest;
}

/* A console that is a pipe takes part of a long text at a time. */
void console_write(const char *data, u64 length)
{
    while (length > 0) {
        i64 n = system_call(SYS_WRITE, 1, (u64)data, length, 0, 0, 0);
        if (n <= 0)
            return;
        data += n;
        length -= n;
    }
}

_Noreturn void halt(int status)
{
    system_call(SYS_EXIT_GROUP, status, 0, 0, 0, 0, 0);
    __builtin_trap();
}

/* Sleeps in epoll_pwait until something is ready, and answers what that is. An ms of 0 sets
 * no timer. */
static u64 wait_for_any(u64 ms)
{
    struct epoll_event event;
    u64 timer[4] = {0, 0, ms / 1000, ms % 1000 * 1000000};

    system_call(SYS_TIMERFD_SETTIME, info->timer, 0, (u64)timer, 0, 0, 0);
    while (system_call(SYS_EPOLL_PWAIT, info->epoll, (u64)&event, 1, -1, 0,
                       0) < 1)
        ;
    return event.data;
}

/* What is ready must be what is expected. */
static void wait(u64 ms, u64 expected)
{
    if (wait_for_any(ms) != expected)
        halt(UNEXPECTED_EVENT);
}

void sleep_ms(u64 ms)
{
    if (ms > 0)
        wait(ms, TIMER_EVENT);
}

u64 clock_ms(void)
{
    u64 time[2] = {0, 0};

    system_call(SYS_CLOCK_GETTIME, 1, (u64)time, 0, 0, 0, 0); /* CLOCK_MONOTONIC */
    return time[0] * 1000 + time[1] / 1000000;
}

int block_read(struct device *d, u32 handle, u64 offset, void *data)
{
    (void)handle;
    u64 size = d->u.block.sector_size;
    return system_call(SYS_PREAD, d->backing.descriptor, (u64)data, size,
                       offset, 0, 0) != (i64)size;
}

int block_write(struct device *d, u32 handle, u64 offset, const void *data)
{
    (void)handle;
    u64 size = d->u.block.sector_size;
    return system_call(SYS_PWRITE, d->backing.descriptor, (u64)data, size,
                       offset, 0, 0) != (i64)size;
}

static i64 net_read(struct device *d, void *data, u64 size)
{
    return system_call(SYS_READ, d->backing.descriptor, (u64)data, size, 0, 0, 0);
}

u64 net_receive(struct device *d, u32 handle, void *data, u64 size)
{
    for (;;) {
        i64 n = net_read(d, data, size);
        if (n > 0)
            return n;
        wait(0, handle);
    }
}

u64 net_receive_within(struct device *d, u32 handle, void *data, u64 size, u64 ms)
{
    (void)handle;
    i64 n = net_read(d, data, size);
    if (n <= 0 && ms > 0) {
        wait_for_any(ms);
        n = net_read(d, data, size);
    }
    return n > 0 ? n : 0;
}

void net_send(struct device *d, u32 handle, const void *data, u64 length)
{
    (void)handle;
    system_call(SYS_WRITE, d->backing.descriptor, (u64)data, length, 0, 0, 0);
}

/* ---- what the seccomp filter must kill -------------------------------- */

static const char forbidden_text[] = "forbidden\n";

#ifdef __x86_64__
static void call_i386(void)
{
    /* The 32-bit table has exit_group where the 64-bit one has munlockall and
     * so on; a filter that looks at numbers only would be fooled. */
    __asm__ volatile("int $0x80" : : "a"(231), "b"(1), "c"(0), "d"(0));
}

static void call_vsyscall(void)
{
    ((i64(*)(u64, u64))0xffffffffff600000)(0, 0);
}

#endif

static const struct {
    const char *kind;
    u64 number, a, b, c;
} forbidden_calls[] = {
    {"read-stdin", SYS_READ, 0, 0x11000, 1},
    {"write-stderr", SYS_WRITE, 2, (u64)forbidden_text, 10},
    {"write-high", SYS_WRITE, 0x100000001, (u64)forbidden_text, 10},
    {"write-x32", SYS_WRITE | 0x40000000, 1, (u64)forbidden_text, 10},
    {"cpu-clock", SYS_CLOCK_GETTIME, 2, 0x11000, 0},
    {"epoll-other", SYS_EPOLL_PWAIT, 1, 0x11000, 1},
    {"timer-other", SYS_TIMERFD_SETTIME, 1, 0, 0x11000},
    {"io-uring", 425, 1, 0x11000, 0},
    {"no-such-call", 4095, 0, 0, 0},
#ifdef __x86_64__
    {"open", 2, (u64) "/etc/passwd", 0, 0},
    {"close", 3, 0, 0, 0},
    {"mmap", 9, 0x20000000, 4096, 7},
    {"mprotect", 10, 0x100000, 4096, 7},
    {"munmap", 11, 0x11000, 4096, 0},
    {"brk", 12, 0, 0, 0},
    {"ioctl", 16, 1, 0x5401, 0x11000},
    {"getpid", 39, 0, 0, 0},
    {"socket", 41, 2, 1, 0},
    {"clone", 56, 0, 0, 0},
    {"fork", 57, 0, 0, 0},
    {"execve", 59, (u64) "/bin/sh", 0, 0},
    {"exit-thread", 60, 0, 0, 0},
    {"kill", 62, 0, 0, 0},
    {"ptrace", 101, 0, 0, 0},
    {"get-fs", 158, 0x1003, 0x11000, 0},
    {"set-gs", 158, 0x1001, 0, 0},
    {"seccomp", 317, 1, 0, 0},
#else
    {"open", 56, -100, (u64) "/etc/passwd", 0},
    {"close", 57, 0, 0, 0},
    {"mmap", 222, 0x20000000, 4096, 7},
    {"mprotect", 226, 0x100000, 4096, 7},
    {"munmap", 215, 0x11000, 4096, 0},
    {"brk", 214, 0, 0, 0},
    {"ioctl", 29, 1, 0x5401, 0x11000},
    {"getpid", 172, 0, 0, 0},
    {"socket", 198, 2, 1, 0},
    {"clone", 220, 0, 0, 0},
    {"execve", 221, (u64) "/bin/sh", 0, 0},
    {"exit-thread", 93, 0, 0, 0},
    {"kill", 129, 0, 0, 0},
    {"ptrace", 117, 0, 0, 0},
    {"seccomp", 277, 1, 0, 0},
#endif
};

int misbehave(const char *kind)
{
#ifdef __x86_64__
    if (equal(kind, "i386"))
        return call_i386(), 1;
    if (equal(kind, "vsyscall"))
        return call_vsyscall(), 1;
#endif
    for (u64 i = 0; i < sizeof forbidden_calls / sizeof *forbidden_calls; i++)
        if (equal(kind, forbidden_calls[i].kind)) {
            system_call(forbidden_calls[i].number, forbidden_calls[i].a,
                        forbidden_calls[i].b, forbidden_calls[i].c, 0, 0, 0);
            return 1;
        }
    return 0;
}
