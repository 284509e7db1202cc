/* The hvt layer: the guest is alone in a virtual machine and speaks to its
 * tender by hypercalls. */
#include "guest.h"
#include "hvt.h"

__attribute__((section(".note.solo5.abi"), aligned(4), used)) static const struct {
    u32 owner_size, size, type;
    char owner[8];
    u32 target, version, reserved[2];
} abi_note = {6, 16, 0x31494241, "Solo5", 1, 2, {0, 0}};

struct boot_info {
    u64 memory;
    u64 image_end;
    u64 cycles_per_second;
    const char *command_line;
    struct manifest *manifest;
};

static u64 cycles_per_second;

void target_start(const void *boot_info, struct boot *boot)
{
    const struct boot_info *info = boot_info;

    cycles_per_second = info->cycles_per_second;
    boot->memory = info->memory;
    boot->image_end = info->image_end;
    boot->command_line = info->command_line;
    boot->manifest = info->manifest;
}

void console_write(const char *data, u64 length)
{
    struct call_puts c = {data, length};
    call(CALL_PUTS, (u64)&c);
}

_Noreturn void halt(int status)
{
    struct call_halt c = {0, status};
    call(CALL_HALT, (u64)&c);
    for (;;)
        halt_processor();
}

void sleep_ms(u64 ms)
{
    struct call_poll c = {ms * 1000000, 0, 0};
    call(CALL_POLL, (u64)&c);
}

u64 clock_ms(void)
{
    return cycles() / (cycles_per_second / 1000);
}

static int block_transfer(int which, struct device *d, u32 handle, u64 offset,
                          void *data)
{
    struct call_block c = {handle, offset, data, d->u.block.sector_size, -1};
    call(which, (u64)&c);
    return c.result;
}

int block_read(struct device *d, u32 handle, u64 offset, void *data)
{
    return block_transfer(CALL_BLOCK_READ, d, handle, offset, data);
}

int block_write(struct device *d, u32 handle, u64 offset, const void *data)
{
    return block_transfer(CALL_BLOCK_WRITE, d, handle, offset, (void *)data);
}

static u64 net_read(u32 handle, void *data, u64 size)
{
    struct call_net c = {handle, data, size, -1};
    call(CALL_NET_READ, (u64)&c);
    return c.result == 0 ? c.length : 0;
}

u64 net_receive_within(struct device *d, u32 handle, void *data, u64 size, u64 ms)
{
    (void)d;
    u64 n = net_read(handle, data, size);
    if (n > 0)
        return n;
    sleep_ms(ms);
    return net_read(handle, data, size);
}

u64 net_receive(struct device *d, u32 handle, void *data, u64 size)
{
    for (;;) {
        u64 n = net_receive_within(d, handle, data, size, 3600 * 1000);
        if (n > 0)
            return n;
    }
}

void net_send(struct device *d, u32 handle, const void *data, u64 length)
{
    (void)d;
    struct call_net c = {handle, (void *)data, length, -1};
    call(CALL_NET_WRITE, (u64)&c);
}

/* ---- what the tender must refuse --------------------------------------- */

static void puts_far_away(void)
{
    struct call_puts c = {FAR_AWAY, 16};
    call(CALL_PUTS, (u64)&c);
}

static void puts_too_long(void)
{
    struct call_puts c = {"", 0x7fffffffff};
    call(CALL_PUTS, (u64)&c);
}

static void puts_wrapping(void)
{
    struct call_puts c = {"", (u64)-1};
    call(CALL_PUTS, (u64)&c);
}

static void read_no_device(void)
{
    struct call_net c = {63, FAR_AWAY, 2048, -1};
    call(CALL_NET_READ, (u64)&c);
    /* To refuse the one call is as good as to stop the guest. */
    if (c.result != 0)
        halt(1);
}

static void read_handle_too_large(void)
{
    struct call_block c = {(u64)-1, 0, FAR_AWAY, 512, -1};
    call(CALL_BLOCK_READ, (u64)&c);
    if (c.result != 0)
        halt(1);
}

static void halt_cookie_far_away(void)
{
    struct call_halt c = {FAR_AWAY, 1};
    call(CALL_HALT, (u64)&c);
}

static void no_such_call(void) { out(CALL_AT(99), 0x100000); }
static void call_zero(void) { out(CALL_AT(0), 0x100000); }
static void other_port(void) { out(OTHER_PLACE, 0); }
static void argument_far_away(void) { out(CALL_AT(CALL_PUTS), 0xfffffff0); }

static const struct {
    const char *kind;
    void (*act)(void);
} misdeeds[] = {
    {"puts-far-away", puts_far_away},
    {"puts-too-long", puts_too_long},
    {"puts-wrapping", puts_wrapping},
    {"read-no-device", read_no_device},
    {"read-handle-too-large", read_handle_too_large},
    {"halt-cookie-far-away", halt_cookie_far_away},
    {"no-such-call", no_such_call},
    {"call-zero", call_zero},
    {"other-port", other_port},
    {"argument-far-away", argument_far_away},
};

int misbehave(const char *kind)
{
    for (u64 i = 0; i < sizeof misdeeds / sizeof *misdeeds; i++)
        if (equal(kind, misdeeds[i].kind)) {
            misdeeds[i].act();
            return 1;
        }
    return 0;
}
