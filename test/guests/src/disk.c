/* disk [write TEXT | beyond | read N | fill N]: tells capacity and sector size of the block
 * device "storage"; writes TEXT to its last sector; prints the first bytes of
 * its last sector up to a NUL. "beyond" reads behind the end of the device,
 * past every check of its own. "read" and "fill" read or write N sectors, one
 * after the other, from the first one again after the last. */
#include "guest.h"

MANIFEST({.name = "storage", .type = DEVICE_BLOCK});

static u8 sector[65536];

static void put_text(const char *text)
{
    for (u64 i = 0; text[i]; i++)
        sector[i] = text[i];
}

static int repeat(const struct boot *boot, struct device *d, int write)
{
    u64 size = d->u.block.sector_size, offset = 0;

    for (u64 n = number(argument(boot, 1)); n > 0; n--) {
        if (write ? block_write(d, 1, offset, sector) : block_read(d, 1, offset, sector))
            return 4;
        offset = (offset + size) % d->u.block.capacity;
    }
    return 0;
}

int program(const struct boot *boot)
{
    struct device *d = &boot->manifest->devices[1];
    u64 last = d->u.block.capacity - d->u.block.sector_size;

    print_number(d->u.block.capacity);
    print(" bytes in sectors of ");
    print_number(d->u.block.sector_size);
    print("\n");
    if (equal(argument(boot, 0), "beyond")) {
        int refused = block_read(d, 1, last + d->u.block.sector_size, sector);
        print(refused ? "refused\n" : "survived\n");
        return refused;
    }
    if (equal(argument(boot, 0), "read") || equal(argument(boot, 0), "fill"))
        return repeat(boot, d, equal(argument(boot, 0), "fill"));
    if (equal(argument(boot, 0), "write")) {
        put_text(argument(boot, 1));
        if (block_write(d, 1, last, sector))
            return 2;
    }
    if (block_read(d, 1, last, sector))
        return 3;
    sector[d->u.block.sector_size - 1] = 0;
    print((const char *)sector);
    print("\n");
    return 0;
}
