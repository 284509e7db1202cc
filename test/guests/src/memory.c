/* memory [ends]: writes to each page between the image and the stack, and
 * checks that each was zero before, and that stack and end of the image are
 * where the ABI says. "ends": to the first page, one in each GB, and the last
 * ones only. Under hvt, a stack above 4 GB could not hold the arguments of
 * hypercalls: with more memory it is below the image. */
#include "guest.h"

MANIFEST();

#define GB (1UL << 30)

/* The tender reads the text from there. */
static void print_from(u64 at, const char *text)
{
    char *to = (char *)at;

    for (u64 i = 0; (to[i] = text[i]); i++)
        ;
    print(to);
}

int program(const struct boot *boot)
{
    int below = boot->stack == (1 << 20) - STACK_GAP, ends = has_argument(boot, "ends");
    u64 last = boot->memory - 4096 - (below ? 0 : 65536), pages = 0, next;

    /* Solo5's tenders do not count zeroed memory as part of the image. */
    if (boot->image_end > (u64)end_of_image || (boot->image_end & 4095))
        return 4;
    if (boot->stack != boot->memory - STACK_GAP && !below)
        return 2;
    for (u64 at = (u64)end_of_image; at <= last; at = next, pages++) {
        if (*(volatile u64 *)at != 0)
            return 3;
        *(volatile u64 *)at = at;
        next = at + 4096;
        if (ends && next < last)
            next = (at / GB + 1) * GB < last ? (at / GB + 1) * GB : last;
    }
    print_number(pages);
    print_from(last, " pages of ");
    print_number(boot->memory >> 20);
    print(below ? " MB with the stack below the image\n" : " MB\n");
    return 0;
}
