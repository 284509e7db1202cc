/* The hypercalls of hvt, behind guest.h. Each puts out the address of its argument, which also
 * holds the results. */
enum {
    CALL_WALLTIME = 1,
    CALL_PUTS = 2,
    CALL_POLL = 3,
    CALL_BLOCK_WRITE = 4,
    CALL_BLOCK_READ = 5,
    CALL_NET_WRITE = 6,
    CALL_NET_READ = 7,
    CALL_HALT = 8,
};

struct call_puts {
    const char *data;
    u64 length;
};

struct call_poll {
    u64 timeout_ns;
    u64 ready;
    int result;
};

struct call_block {
    u64 handle;
    u64 offset;
    void *data;
    u64 length;
    int result;
};

struct call_net {
    u64 handle;
    void *data;
    u64 length;
    int result;
};

struct call_halt {
    void *cookie;
    int status;
};

static inline void call(int number, u64 argument)
{
    out(CALL_AT(number), (u32)argument);
}

/* No guest has memory there. */
#define FAR_AWAY ((void *)0xfffffff000)
