/* memory: writes to each page between the image and the stack, and checks
 * that each was zero before, and that stack and end of the image are where the
 * ABI says. */
#include "guest.h"

MANIFEST();

int program(const struct boot *boot)
{
    u64 pages = 0;

    /* Solo5's tenders do not count zeroed memory as part of the image. */
    if (boot->image_end > (u64)end_of_image || (boot->image_end & 4095))
        return 4;
    if (boot->stack != boot->memory - 8)
        return 2;
    for (u64 at = (u64)end_of_image; at < boot->stack - 65536; at += 4096, pages++) {
        if (*(volatile u64 *)at != 0)
            return 3;
        *(volatile u64 *)at = at;
    }
    print_number(pages);
    print(" pages of ");
    print_number(boot->memory >> 20);
    print(" MB\n");
    return 0;
}
