/* several: declares three devices, one block and two networks, and exits; for
 * whoever checks manifests. */
#include "guest.h"

MANIFEST({.name = "storage", .type = DEVICE_BLOCK},
         {.name = "service", .type = DEVICE_NET},
         {.name = "management", .type = DEVICE_NET});

int program(const struct boot *boot)
{
    return (int)boot->manifest->count - 4;
}
