/* memory: writes to each page between the image and the stack, and checks
 * that each was zero before, and that the protocol's promises about the stack
 * hold. */
#include "guest.h"

MANIFEST();

int program(const struct boot *boot)
{
    u64 stack = (u64)__builtin_frame_address(0);
    u64 pages = 0;

    if (stack > boot->memory || stack < boot->memory - 4096)
        return 2;
    for (u64 at = boot->image_end; at < stack - 65536; at += 4096, pages++) {
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
