/* attack KIND: has a block device "storage" and a network "service", and asks
 * the tender of hvt for something about them, or about memory, that no guest
 * would ask for. It prints "refused" and exits with 0 if it is told that it
 * cannot have that, or "survived" and exits with 1 if it gets it. */
#include "guest.h"
#include "hvt.h" /* by hand: the layer of the target makes no mistakes */

MANIFEST({.name = "storage", .type = DEVICE_BLOCK},
         {.name = "service", .type = DEVICE_NET});

#define STORAGE 1 /* the handles */
#define SERVICE 2

/* What is not written at the start of the guest is in its text. */
static const struct call_poll in_text = {0, 0, 0};
static u8 data[8192];

static int block(int which, u64 handle, u64 offset, void *at, u64 length)
{
    struct call_block c = {handle, offset, at, length, 0};
    call(which, (u64)&c);
    return c.result;
}

static int net(int which, u64 handle, void *at, u64 length)
{
    struct call_net c = {handle, at, length, 0};
    call(which, (u64)&c);
    return c.result;
}

#define MINUS(n) ((u64)0 - (n))
#define TEXT ((void *)0x100000)
#define BOOT_INFO ((void *)0x10000)
#define PAGE_TABLES ((void *)0x2000)

/* The last bytes of memory, of which there are too few. */
static void *end_of(const struct boot *boot) { return (u8 *)boot->memory - 256; }

static int attack_block(const struct boot *boot, const char *kind)
{
    u64 capacity = boot->manifest->devices[STORAGE].u.block.capacity;
    const struct {
        const char *kind;
        int which;
        u64 handle, offset;
        void *at;
        u64 length;
    } all[] = {
        {"read-odd-offset", CALL_BLOCK_READ, STORAGE, 1, data, 512},
        {"write-odd-offset", CALL_BLOCK_WRITE, STORAGE, 256, data, 512},
        {"read-half-sector", CALL_BLOCK_READ, STORAGE, 0, data, 256},
        {"write-half-sector", CALL_BLOCK_WRITE, STORAGE, 0, data, 768},
        {"read-beyond", CALL_BLOCK_READ, STORAGE, capacity, data, 512},
        {"write-beyond", CALL_BLOCK_WRITE, STORAGE, capacity, data, 512},
        {"read-over-the-end", CALL_BLOCK_READ, STORAGE, capacity - 512, data, 1024},
        {"write-over-the-end", CALL_BLOCK_WRITE, STORAGE, capacity - 512, data, 1024},
        {"write-offset-wraps", CALL_BLOCK_WRITE, STORAGE, MINUS(512), data, 1024},
        {"write-length-wraps", CALL_BLOCK_WRITE, STORAGE, 1024, data, MINUS(512)},
        {"read-2-63", CALL_BLOCK_READ, STORAGE, 0, data, 1UL << 63},
        {"write-2-63", CALL_BLOCK_WRITE, STORAGE, 1UL << 63, data, 512},
        {"block-handle-0", CALL_BLOCK_READ, 0, 0, data, 512},
        {"block-handle-net", CALL_BLOCK_READ, SERVICE, 0, data, 512},
        {"block-handle-3", CALL_BLOCK_WRITE, 3, 0, data, 512},
        {"block-handle-2-32", CALL_BLOCK_WRITE, (1UL << 32) + STORAGE, 0, data, 512},
        {"block-handle-all", CALL_BLOCK_READ, MINUS(1), 0, data, 512},
        {"read-into-text", CALL_BLOCK_READ, STORAGE, 0, TEXT, 512},
        {"read-into-boot-info", CALL_BLOCK_READ, STORAGE, 0, BOOT_INFO, 512},
        {"read-into-page-tables", CALL_BLOCK_READ, STORAGE, 0, PAGE_TABLES, 512},
        {"read-into-the-end", CALL_BLOCK_READ, STORAGE, 0, end_of(boot), 512},
        {"read-into-nowhere", CALL_BLOCK_READ, STORAGE, 0, FAR_AWAY, 512},
        {"read-into-wrapping", CALL_BLOCK_READ, STORAGE, 0, (void *)MINUS(256), 512},
        {"write-from-the-end", CALL_BLOCK_WRITE, STORAGE, 0, end_of(boot), 512},
        {"write-from-nowhere", CALL_BLOCK_WRITE, STORAGE, 0, FAR_AWAY, 512},
        {"write-from-wrapping", CALL_BLOCK_WRITE, STORAGE, 0, (void *)MINUS(256), 512},
    };

    for (u64 i = 0; i < sizeof all / sizeof *all; i++)
        if (equal(kind, all[i].kind))
            return block(all[i].which, all[i].handle, all[i].offset, all[i].at,
                         all[i].length) != 0;
    return -1;
}

static int attack_net(const struct boot *boot, const char *kind)
{
    const struct {
        const char *kind;
        int which;
        u64 handle;
        void *at;
        u64 length;
    } all[] = {
        {"net-handle-0", CALL_NET_READ, 0, data, 1514},
        {"net-handle-block", CALL_NET_WRITE, STORAGE, data, 1514},
        {"net-handle-all", CALL_NET_WRITE, MINUS(1), data, 1514},
        {"receive-into-text", CALL_NET_READ, SERVICE, TEXT, 1514},
        {"receive-into-boot-info", CALL_NET_READ, SERVICE, BOOT_INFO, 1514},
        {"receive-into-the-end", CALL_NET_READ, SERVICE, end_of(boot), 1514},
        {"receive-into-wrapping", CALL_NET_READ, SERVICE, (void *)MINUS(256), 1514},
        {"receive-2-63", CALL_NET_READ, SERVICE, data, 1UL << 63},
        {"receive-minus-1", CALL_NET_READ, SERVICE, data, MINUS(1)},
        {"send-nothing", CALL_NET_WRITE, SERVICE, data, 0},
        {"send-too-much", CALL_NET_WRITE, SERVICE, (void *)0x100000, boot->memory - 0x100000},
        {"send-from-nowhere", CALL_NET_WRITE, SERVICE, FAR_AWAY, 1514},
        {"send-2-63", CALL_NET_WRITE, SERVICE, data, 1UL << 63},
    };

    for (u64 i = 0; i < sizeof all / sizeof *all; i++)
        if (equal(kind, all[i].kind))
            return net(all[i].which, all[i].handle, all[i].at, all[i].length) != 0;
    return -1;
}

/* Calls whose argument is somewhere else. */
static int attack_argument(const struct boot *boot, const char *kind)
{
    const struct {
        const char *kind;
        int which;
        u64 at;
    } all[] = {
        {"walltime-into-text", CALL_WALLTIME, 0x100000},
        {"walltime-into-boot-info", CALL_WALLTIME, 0x10000},
        {"walltime-into-the-end", CALL_WALLTIME, boot->memory - 4},
        {"walltime-above", CALL_WALLTIME, boot->memory},
        {"poll-into-text", CALL_POLL, (u64)&in_text},
        {"poll-into-the-end", CALL_POLL, boot->memory - 16},
        {"block-at-the-end", CALL_BLOCK_READ, boot->memory - 32},
        {"net-at-the-end", CALL_NET_WRITE, boot->memory - 24},
        {"halt-at-the-end", CALL_HALT, boot->memory - 8},
        {"halt-far-away", CALL_HALT, 0xfffffff0},
    };

    for (u64 i = 0; i < sizeof all / sizeof *all; i++)
        if (equal(kind, all[i].kind)) {
            call(all[i].which, all[i].at);
            return 0;
        }
    return -1;
}

#ifdef __x86_64__
static void out_byte(void) { __asm__ volatile("outb %%al, %%dx" : : "a"(0), "d"(0x502)); }
static void out_word(void) { __asm__ volatile("outw %%ax, %%dx" : : "a"(0), "d"(0x502)); }

static void in(void)
{
    u32 value;
    __asm__ volatile("inl %%dx, %%eax" : "=a"(value) : "d"(0x502));
}

static void out_string(void)
{
    static const u32 nowhere[4] = {-1, -1, -1, -1};
    const void *from = nowhere;
    u64 count = 4;
    __asm__ volatile("rep outsl" : "+S"(from), "+c"(count) : "d"(0x502) : "memory");
}

static void halt_cpu(void) { __asm__ volatile("hlt"); }
static void undefined(void) { __asm__ volatile("ud2"); }

/* Its own page tables map all of the first GB for everything, text included. */
static u64 tables[3][512] __attribute__((aligned(4096)));

static void write_by_own_tables(void)
{
    tables[0][0] = (u64)tables[1] | 3;
    tables[1][0] = (u64)tables[2] | 3;
    for (u64 i = 0; i < 512; i++)
        tables[2][i] = i << 21 | 0x83;
    __asm__ volatile("mov %0, %%cr3" : : "r"((u64)tables) : "memory");
    *(volatile u8 *)program = 0xc3;
}

static void read_by_own_tables(void)
{
    tables[0][0] = (u64)tables[1] | 3;
    tables[1][0] = (u64)tables[2] | 3;
    for (u64 i = 0; i < 512; i++)
        tables[2][i] = i << 21 | 0x83;
    __asm__ volatile("mov %0, %%cr3" : : "r"((u64)tables) : "memory");
    (void)*(volatile u8 *)0x3ffff000;
}
#else
static void out_byte(void) { __asm__ volatile("strb wzr, [%0]" : : "r"(CALL_AT(2)) : "memory"); }
static void out_word(void) { __asm__ volatile("strh wzr, [%0]" : : "r"(CALL_AT(2)) : "memory"); }
static void out_double(void) { __asm__ volatile("str xzr, [%0]" : : "r"(CALL_AT(2)) : "memory"); }

static void in(void)
{
    u32 value;
    __asm__ volatile("ldr %w0, [%1]" : "=r"(value) : "r"(CALL_AT(2)));
}

static void out_between(void) { out(CALL_AT(2) + 4, 0x100000); }
static void undefined(void) { __asm__ volatile("udf #0"); }

/* Its own page tables map all of the first GB for everything, text included. */
static u64 tables[3][512] __attribute__((aligned(4096)));

static void use_own_tables(void)
{
    tables[0][0] = (u64)tables[1] | 3;
    tables[1][0] = (u64)tables[2] | 3;
    for (u64 i = 0; i < 512; i++)
        tables[2][i] = i << 21 | 0x711; /* normal memory that can be written */
    __asm__ volatile("dsb sy\n msr ttbr0_el1, %0\n isb\n tlbi vmalle1\n dsb sy\n isb"
                     : : "r"((u64)tables) : "memory");
}

static void write_by_own_tables(void)
{
    use_own_tables();
    *(volatile instruction *)program = RETURN;
}

static void read_by_own_tables(void)
{
    use_own_tables();
    (void)*(volatile u8 *)0x3ffff000;
}
#endif

static const struct {
    const char *kind;
    void (*act)(void);
} attacks[] = {
    {"out-byte", out_byte},
    {"out-word", out_word},
    {"in", in},
#ifdef __x86_64__
    {"out-string", out_string},
    {"halt-cpu", halt_cpu},
    {"triple-fault", undefined},
#else
    {"out-double", out_double},
    {"out-between", out_between},
    {"undefined", undefined},
#endif
    {"write-text-by-own-tables", write_by_own_tables},
    {"read-above-by-own-tables", read_by_own_tables},
};

/* Answers whether it was refused, or -1 when kind is not known. */
static int attack(const struct boot *boot, const char *kind)
{
    int refused = attack_block(boot, kind);

    if (refused < 0)
        refused = attack_net(boot, kind);
    if (refused < 0)
        refused = attack_argument(boot, kind);
    for (u64 i = 0; refused < 0 && i < sizeof attacks / sizeof *attacks; i++)
        if (equal(kind, attacks[i].kind)) {
            attacks[i].act();
            refused = 0;
        }
    return refused;
}

int program(const struct boot *boot)
{
    int refused = attack(boot, argument(boot, 0));

    if (refused < 0)
        return 64;
    print(refused ? "refused\n" : "survived\n");
    return !refused;
}
