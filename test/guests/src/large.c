/* large [exit | again] [pages] [write ADDRESS]: prints a checksum of all memory between its own
 * end and the end of the image, where tests put segments (guests.Grow); with "pages", of one
 * word in each page; with "again", for ever. Before that it writes to an address. Its text takes
 * several pages. */
#include "guest.h"

MANIFEST();

/* It makes the text large, and is a constant with values that are checked. */
static const u8 padding[3 * 4096] = {[0] = 1, [4096] = 2, [8192] = 3};

static u64 checksum(u64 from, u64 to, u64 step)
{
    u64 sum = 0;

    for (; from < to; from += step)
        sum = (sum ^ *(const volatile u64 *)from) * 0x100000001b3;
    return sum;
}

int program(const struct boot *boot)
{
    for (int i = 0; i < 3; i++)
        if (((const volatile u8 *)padding)[4096 * i] != i + 1)
            return 5;
    for (int i = 0; *argument(boot, i); i++)
        if (equal(argument(boot, i), "write"))
            *(volatile u8 *)number(argument(boot, i + 1)) = 255;
    for (;;) {
        print_number(checksum((u64)end_of_image, boot->image_end, has_argument(boot, "pages") ? 4096 : 8));
        print("\n");
        if (!has_argument(boot, "again"))
            break;
        sleep_ms(100);
    }
    if (has_argument(boot, "exit"))
        return 0;
    sleep_for_ever();
}
