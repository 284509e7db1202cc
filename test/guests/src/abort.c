/* abort: ends as a program does that calls solo5_abort. */
#include "guest.h"

MANIFEST();

int program(const struct boot *boot)
{
    (void)boot;
    return 255;
}
